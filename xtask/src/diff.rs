//! `cargo xtask diff`: longer runs of the differential test between reachability verdicts and
//! packets.

use clap::Args;

use crate::repo::{cargo, output_of};
use crate::test::WITH_AWS;

/// The options of `cargo xtask diff`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many networks are drawn and built
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    topologies: u64,
    /// The first network's seed; the others follow
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Other networks than those of the test itself, as many as the coverage needs.
const IN_CI: Options = Options {
    topologies: 120,
    seed: 1001,
};

/// Draws networks, traces flows in them, sends the packets, and prints the coverage.
///
/// # Errors
/// When packets contradict the trace; prints the smallest failing case.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    with(&["--package=landfall-local"], options)
}

/// The same with the existing build of the tests, so that nothing is rebuilt.
///
/// # Errors
/// As [`run`].
pub(crate) fn in_ci() -> Result<(), String> {
    with(&["--workspace", WITH_AWS], &IN_CI)
}

fn with(selection: &[&str], options: &Options) -> Result<(), String> {
    let test = "daemon::differential::verdicts_and_packets_agree";
    let mut run = cargo(["test", "--quiet", "--lib"]);
    run.args(selection)
        .args(["--", test, "--exact", "--nocapture"])
        .env("LANDFALL_DIFF_TOPOLOGIES", options.topologies.to_string())
        .env("LANDFALL_DIFF_SEED", options.seed.to_string());
    let printed = output_of(&mut run)?;
    let table = table(&printed)
        .ok_or_else(|| format!("the test did not say what it covered: {printed}"))?;
    println!("{table}");
    Ok(())
}

/// The test's own output, without the test harness's.
fn table(printed: &str) -> Option<&str> {
    let (_, said) = printed.split_once("seeds ")?;
    let (table, _) = said.split_once("\n\n")?;
    let start = printed.len() - said.len() - "seeds ".len();
    printed.get(start..start + "seeds ".len() + table.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_alone() {
        let printed = "\nrunning 0 tests\n\nrunning 1 test\nseeds 1 to 9, in 3s\n9 topologies\n  1  CODE\n\n.\ntest result: ok.";
        assert_eq!(
            table(printed),
            Some("seeds 1 to 9, in 3s\n9 topologies\n  1  CODE")
        );
        assert_eq!(table("\nrunning 0 tests\n"), None);
    }
}
