//! Runs on random stacks that die at any point, once or twice, and the recovery by the next run.

use std::time::Duration;

use landfall_testkit::crash::{Position, Scenario, run_in_full};
use landfall_testkit::sim::{Cut, Sim, Span, Times};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::random::{any_stack, any_stack_of};
use crate::things::{catalog, kind, stack_of};

/// A simulation with delayed visibility, and with one kind that lingers.
fn sim(seed: u64) -> Sim {
    let spread = |least, most| Span {
        least: Duration::from_millis(least),
        median: Duration::from_millis((least + most) / 2),
        most: Duration::from_millis(most),
    };
    Sim::new()
        .lag(Duration::from_millis(300))
        .seed(seed)
        .times(
            kind("plain"),
            Times {
                call: spread(20, 900),
                create: spread(20, 4_000),
                update: spread(0, 2_000),
                delete: spread(100, 3_000),
                linger: spread(0, 5_000),
            },
        )
        .unique(kind("late"))
}

fn any_position() -> impl Strategy<Value = Position> {
    (0_usize..120, prop::sample::select(&Cut::ALL[..])).prop_map(|(nth, cut)| Position { nth, cut })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_run_that_dies_anywhere_is_made_good_by_the_next(
        first in any_stack(),
        second in any_stack(),
        seed in any::<u64>(),
        positions in prop::collection::vec((any_position(), prop::option::of(any_position())), 8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (catalog, nothing) = (catalog(), stack_of([]));
            let (empty, full) = (sim(seed), sim(seed));
            run_in_full(&full, &catalog, &first).await.map_err(TestCaseError::fail)?;
            for (sim, desired, then) in [
                (&empty, &first, &first),
                (&full, &second, &second),
                (&full, &nothing, &nothing),
                // The user reverts the change.
                (&empty, &first, &nothing),
                (&full, &second, &first),
            ] {
                let scenario = Scenario { sim, catalog: &catalog, desired, then, rest: Duration::from_secs(1) };
                let expected = scenario.undisturbed().await.map_err(TestCaseError::fail)?;
                for (one, other) in &positions {
                    let positions: Vec<_> = std::iter::once(*one).chain(*other).collect();
                    let outcome = scenario.cut_at(&positions, &expected).await;
                    outcome.map_err(|why| TestCaseError::fail(format!("cut off at {positions:?}: {why}")))?;
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

/// The number of small graphs that are tested at every position.
const SMALL: u64 = 12;

/// Every position, not a sample, for small graphs: the same ones each time.
#[tokio::test(start_paused = true)]
async fn small_graphs_are_made_good_wherever_a_run_dies() {
    let mut runner = TestRunner::deterministic();
    let mut drawn = || any_stack_of(7).new_tree(&mut runner).unwrap().current();
    let (catalog, nothing) = (catalog(), stack_of([]));
    let mut counts = [0; 5];
    for seed in 0..SMALL {
        let (first, second) = (drawn(), drawn());
        let (empty, full) = (sim(seed), sim(seed));
        run_in_full(&full, &catalog, &first).await.unwrap();
        let scenarios = [
            (&empty, &first, &first),
            (&full, &second, &second),
            (&full, &nothing, &nothing),
            // The user reverts the change.
            (&empty, &first, &nothing),
            (&full, &second, &first),
        ];
        for (count, (sim, desired, then)) in counts.iter_mut().zip(scenarios) {
            let scenario = Scenario {
                sim,
                catalog: &catalog,
                desired,
                then,
                rest: Duration::from_secs(1),
            };
            let positions = scenario.everywhere().await;
            *count += positions.unwrap_or_else(|why| panic!("graph {seed}: {why}"));
        }
    }
    let [deploy, change, destroy, destroyed, taken_back] = counts;
    println!(
        "{SMALL} random graphs, all positions: first deploy {deploy}, change {change}, destroy {destroy}, \
         deploy then destroyed {destroyed}, change taken back {taken_back}; {} in all",
        counts.iter().sum::<usize>()
    );
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}
