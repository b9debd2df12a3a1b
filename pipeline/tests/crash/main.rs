//! Deploys, changes and destroys of real stacks that die at every single call, and the run after them.
//!
//! On a simulation with AWS's times, lags and delete rules. `cargo nextest run --test crash --no-capture` shows
//! how many positions there are.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod stacks;

use std::time::Duration;

use landfall_pipeline::{Config, Zones};
use landfall_provider::{Action, Port, Stack, plan};
use landfall_testkit::crash::{Position, Scenario, run_in_full};
use landfall_testkit::sim::Sim;

use crate::stacks::{aws, catalog, every_key, example, of};

fn nothing(stack: &Stack) -> Stack {
    Stack::new(stack.name().clone())
}

/// A configuration after much has changed, such that resources are updated, replaced and deleted; and its image.
fn changed(mut config: Config) -> Stack {
    let name = config.service.keys().next().unwrap().clone();
    let service = config.service.get_mut(&name).unwrap();
    // The target group is replaced before the old one goes, since listener and group move over; its health check,
    // the template and the groups' rules are updated.
    service.port = Port::new(9100).unwrap();
    service.health.path = "/other".to_owned();
    service.scale.max += 1;
    // One zone more or less, and another way out of it.
    let (zones, nat) = match config.network.zones.count() {
        2 => (3, landfall_network::NatMode::Single),
        _ => (2, landfall_network::NatMode::PerZone),
    };
    config.network.zones = Zones::Count(zones);
    config.network.nat = nat;
    config.network.s3_endpoint = !config.network.s3_endpoint;
    config.network.bastion = None;
    of(&config, '2')
}

/// Another block of addresses: all but what is not in the network is replaced, the old first.
fn moved(mut config: Config) -> Stack {
    config.network.cidr = "10.77.0.0/16".parse().unwrap();
    of(&config, '1')
}

/// How many are updated, deleted, replaced with the old one going first, and with the new one coming first.
async fn counts(sim: &Sim, desired: &Stack) -> [usize; 4] {
    let current = catalog().snapshot(sim, desired.name()).await.unwrap();
    let steps = plan(desired, &current, catalog().schema()).unwrap().steps;
    let mut counts = [0; 4];
    for (index, step) in steps.iter().enumerate() {
        let new = steps
            .iter()
            .position(|new| new.key == step.key && matches!(new.action, Action::Create { .. }));
        match (&step.action, new) {
            (Action::Update { .. }, _) => counts[0] += 1,
            (Action::Delete { .. }, None) => counts[1] += 1,
            (Action::Delete { .. }, Some(new)) if new > index => counts[2] += 1,
            (Action::Delete { .. }, Some(_)) => counts[3] += 1,
            _ => {}
        }
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn change_and_move_have_something_of_everything() {
    for config in [example, every_key] {
        let sim = deployed(&of(&config(), '1')).await;
        let [change, moved] = [
            counts(&sim, &changed(config())).await,
            counts(&sim, &moved(config())).await,
        ];
        assert!(
            change[0] > 5 && change[1] > 2 && change[3] > 0,
            "{change:?}"
        );
        assert!(moved[2] > 10, "{moved:?}");
    }
}

/// Where a stack is deployed already.
async fn deployed(desired: &Stack) -> Sim {
    let sim = aws();
    run_in_full(&sim, &catalog(), desired).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    sim
}

#[expect(
    clippy::print_stdout,
    reason = "how many positions there are is part of the result"
)]
async fn everywhere(what: &str, sim: &Sim, desired: &Stack, then: &Stack) {
    let catalog = catalog();
    let scenario = Scenario {
        sim,
        catalog: &catalog,
        desired,
        then,
        // The same again finds what it has made by making it again. Another run can only end what it is shown: it
        // begins when the last creation is seen.
        rest: match desired == then {
            true => Duration::ZERO,
            false => Duration::from_secs(1),
        },
    };
    let positions = scenario.everywhere().await;
    let positions = positions.unwrap_or_else(|why| panic!("{what}, {why}"));
    println!("{what}: {positions} positions, all made good by the next run");
}

/// How many pairs of positions are drawn for each scenario that dies twice.
const PAIRS: u64 = 60;

/// A run dies, the one after it dies as well, and so the third one makes it good.
#[expect(
    clippy::print_stdout,
    reason = "how many pairs there are is part of the result"
)]
async fn twice(what: &str, sim: &Sim, desired: &Stack) {
    let catalog = catalog();
    let scenario = Scenario {
        sim,
        catalog: &catalog,
        desired,
        then: desired,
        rest: Duration::ZERO,
    };
    let calls = scenario.calls().await.unwrap();
    let expected = scenario.undisturbed().await.unwrap();
    let mut both = 0;
    for seed in 0..PAIRS {
        let positions = Position::draw(seed, calls, 2);
        let outcome = scenario.cut_at(&positions, &expected).await;
        let cut_off = outcome
            .unwrap_or_else(|why| panic!("{what}, seed {seed}, cut off {positions:?}: {why}"));
        assert!(cut_off > 0, "{what}, seed {seed}: no run was cut off");
        both += u64::from(cut_off == 2);
    }
    println!(
        "{what}: {PAIRS} pairs of positions, seeds 0 to {}, all made good by the third run; \
         in {both} the second run died too, in the others it was done before",
        PAIRS - 1
    );
    assert!(both > PAIRS / 4, "{what}: {both} of {PAIRS}");
}

macro_rules! matrix {
    ($($name:ident: $config:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(start_paused = true)]
            async fn a_first_deploy_that_dies_anywhere_is_made_good_by_the_next() {
                let desired = of(&$config, '1');
                everywhere(concat!(stringify!($name), ", first deploy"), &aws(), &desired, &desired).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_change_that_dies_anywhere_is_made_good_by_the_next() {
                let sim = deployed(&of(&$config, '1')).await;
                let desired = changed($config);
                everywhere(concat!(stringify!($name), ", change"), &sim, &desired, &desired).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_move_that_dies_anywhere_is_made_good_by_the_next() {
                let sim = deployed(&of(&$config, '1')).await;
                let desired = moved($config);
                everywhere(concat!(stringify!($name), ", move"), &sim, &desired, &desired).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_change_that_dies_anywhere_can_be_taken_back() {
                let before = of(&$config, '1');
                let sim = deployed(&before).await;
                let desired = changed($config);
                everywhere(concat!(stringify!($name), ", change taken back"), &sim, &desired, &before).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_destroy_that_dies_anywhere_is_made_good_by_the_next() {
                let before = of(&$config, '1');
                let (sim, nothing) = (deployed(&before).await, nothing(&before));
                everywhere(concat!(stringify!($name), ", destroy"), &sim, &nothing, &nothing).await;
            }

            #[tokio::test(start_paused = true)]
            async fn runs_that_die_twice_are_made_good_by_the_third() {
                let before = of(&$config, '1');
                let sim = deployed(&before).await;
                twice(concat!(stringify!($name), ", first deploy"), &aws(), &before).await;
                twice(concat!(stringify!($name), ", change"), &sim, &changed($config)).await;
                twice(concat!(stringify!($name), ", move"), &sim, &moved($config)).await;
                twice(concat!(stringify!($name), ", destroy"), &sim, &nothing(&before)).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_deploy_that_dies_anywhere_can_be_destroyed() {
                let desired = of(&$config, '1');
                let nothing = nothing(&desired);
                everywhere(concat!(stringify!($name), ", deploy then destroy"), &aws(), &desired, &nothing).await;
            }
        }
    )*};
}

matrix! {
    the_example: example();
    every_key_of_the_file: every_key();
}
