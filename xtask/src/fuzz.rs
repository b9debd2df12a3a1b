//! `cargo xtask fuzz` and `cargo xtask soak`: longer runs of tests that are short in CI.

use std::time::Duration;

use clap::Args;

use crate::repo::{cargo, succeed};

/// The options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long each input format is fuzzed, in minutes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// The seed of the first round; without one, a new one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Only tests whose name contains this text, such as `layouts`
    #[arg(value_name = "NAME", default_value = "fuzz")]
    name: String,
}

/// The options of `cargo xtask soak`.
#[derive(Debug, Args)]
pub(crate) struct SoakOptions {
    /// How long it lasts, in minutes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
}

/// The crates that parse external input.
const CRATES: &[&str] = &[
    "--package=landfall-container",
    "--package=landfall-balancer",
    "--package=landfall-local",
    "--package=landfall-sandbox",
    "--package=landfall-pipeline",
];

/// Runs every fuzz test for the given time and prints the figures of each.
///
/// # Errors
/// When an input violated a property; prints the smallest such input.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let seed = options.seed.unwrap_or_else(|| {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        since.as_secs()
    });
    let length = Duration::from_secs(60 * options.minutes).as_secs();
    println!("seed {seed}");
    // `cargo test` runs the tests of one binary concurrently, and one binary after the other.
    let mut tests = cargo(["test", "--no-fail-fast", "--lib", "--tests"]);
    tests
        .args(CRATES)
        .args(["--", &options.name, "--nocapture"]);
    tests.args(["--skip", "needs_"]);
    succeed(
        tests
            .env("LANDFALL_FUZZ_SECONDS", length.to_string())
            .env("LANDFALL_FUZZ_SEED", seed.to_string()),
    )
}

/// Runs a service under load beside a hostile stack for the given time and prints the results of
/// its requests.
///
/// # Errors
/// When a request failed, or a release or a scaling did.
pub(crate) fn soak(options: &SoakOptions) -> Result<(), String> {
    let mut test = cargo(["test", "--quiet", "--package=landfall-cli", "--test=suite"]);
    test.args(["--", "soak::", "--nocapture"]);
    succeed(test.env("LANDFALL_SOAK_MINUTES", options.minutes.to_string()))
}
