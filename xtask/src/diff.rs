//! `cargo xtask diff`: longer runs of the test that compares verdicts about networks with packets.

use clap::Args;

use crate::repo::{cargo, succeed};

/// What `cargo xtask diff` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many networks are drawn and built
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    topologies: u64,
    /// The first network's seed; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Draws networks, asks the trace about flows in them, sends the packets, and shows what was covered.
///
/// # Errors
/// When packets did otherwise than the trace says; the smallest case that shows it is printed.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let test = "cloud::differential::verdicts_and_packets_agree";
    let mut run = cargo(["test", "--quiet", "--package=landfall-local", "--lib", "--"]);
    run.args([test, "--exact", "--nocapture"])
        .env("LANDFALL_DIFF_TOPOLOGIES", options.topologies.to_string())
        .env("LANDFALL_DIFF_SEED", options.seed.to_string());
    succeed(&mut run)
}
