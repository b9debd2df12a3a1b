//! A single Landfall crate: a two-tier network for three zones, planned, and optionally created on
//! this machine.
//!
//! `cargo run -p network-only` prints the plan. `cargo run -p network-only -- --apply` creates the
//! network, prints the result, and deletes it again.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use landfall_local::{Local, LocalOptions};
use landfall_network::{NatMode, OpenPorts, ServicePort, TwoTier};
use landfall_provider::{
    Action, ApplyOptions, Catalog, Plan, PollInterval, Port, Stack, StackName, Zone, apply, plan,
};

/// The network: no file, no pipeline, a struct.
fn wanted() -> Result<Stack, Box<dyn Error>> {
    let mut stack = Stack::new(StackName::new("network-only")?);
    let zones = ["a", "b", "c"].map(|letter| Zone::new(format!("local-1{letter}")));
    let network = TwoTier {
        cidr: "10.20.0.0/16".parse()?,
        zones: zones.into_iter().collect::<Result<_, _>>()?,
        nat: NatMode::Single,
        s3_endpoint: true,
        open_ports: OpenPorts::new(
            vec![Port::new(80)?],
            vec![ServicePort {
                name: "web".parse()?,
                port: Port::new(8000)?,
            }],
        ),
    }
    .add_to(&mut stack)?;
    for tier in network.public.iter().chain(&network.private) {
        println!("{:<24} {:<10} {}", tier.subnet.key(), tier.zone, tier.cidr);
    }
    Ok(stack)
}

/// Prints a plan, a line for each resource.
fn show(plan: &Plan) {
    for step in &plan.steps {
        let sign = match step.action {
            Action::Keep { .. } => '=',
            Action::Create { .. } => '+',
            Action::Update { .. } => '~',
            Action::Delete { .. } => '-',
        };
        println!("{sign} {}", step.key);
    }
}

async fn run(make: bool) -> Result<(), Box<dyn Error>> {
    let stack = wanted()?;
    // Only the kinds of this crate.
    let catalog: Catalog<Local> = landfall_network::kinds(Catalog::new());
    let local = Local::open(LocalOptions::default())?;
    let options = ApplyOptions {
        poll_interval: PollInterval::LOCAL,
        ..ApplyOptions::default()
    };

    let found = catalog.snapshot(&local, stack.name()).await?;
    let making = plan(&stack, &found, catalog.schema())?;
    show(&making);
    if !make {
        return Ok(());
    }

    let made = apply(&making, &local, &catalog, &options).await;
    for (key, ready) in &made.ready {
        println!("{key:<24} {}  {}", ready.id, ready.output);
    }

    // An empty stack deletes every resource.
    let nothing = Stack::new(stack.name().clone());
    let found = catalog.snapshot(&local, nothing.name()).await?;
    let ending = plan(&nothing, &found, catalog.schema())?;
    let ended = apply(&ending, &local, &catalog, &options).await;
    println!("{} resources ended", ended.deleted.len());
    local.settle().await?;
    match made.failed.into_iter().chain(ended.failed).next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // The local provider's background process is this program, executed again.
    landfall_local::hook();
    let make = std::env::args().any(|arg| arg == "--apply");
    tokio::runtime::Runtime::new()?.block_on(run(make))
}
