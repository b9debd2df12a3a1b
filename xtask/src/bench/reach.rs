//! The time of a reachability check, by the size of the network.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::median;
use crate::repo;

/// The options of `cargo xtask bench reach`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each size is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The output of the bench of `landfall-network` for one size.
#[derive(Debug, Deserialize)]
struct Rounds {
    zones: u32,
    services: u32,
    instances: u32,
    rules: u32,
    cells: u32,
    matrix_ms: Vec<f64>,
    expectations: u32,
    check_ms: Vec<f64>,
}

/// The medians of one size.
#[derive(Debug, PartialEq, Serialize)]
struct Figures {
    zones: u32,
    services: u32,
    instances: u32,
    /// Rules of security groups and network ACLs.
    rules: u32,
    /// Pairs of endpoint groups with any reachable port.
    cells: u32,
    /// The whole matrix: every pair, every port, every protocol.
    matrix_ms: f64,
    expectations: u32,
    /// Checking the invariants of a deployment.
    check_ms: f64,
}

/// Measures and prints.
///
/// # Errors
/// When a network of the bench violates an expectation.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut bench = repo::cargo(["bench", "--quiet", "--package", "landfall-network"]);
    bench.args(["--bench", "reach", "--"]);
    bench.arg(format!("--rounds={}", options.rounds));
    let printed = repo::output_of(&mut bench)?;
    let rounds: Vec<Rounds> = serde_json::from_str(printed.trim())
        .map_err(|error| format!("the bench's line: {error}: {printed}"))?;
    let figures: Vec<Figures> = rounds.into_iter().map(figures).collect();
    if options.json {
        let line = serde_json::to_string(&figures).map_err(|error| error.to_string())?;
        println!("{line}");
    } else {
        println!("{}", table(&figures, options.rounds));
    }
    Ok(())
}

fn figures(rounds: Rounds) -> Figures {
    let tenths = |milliseconds: f64| (milliseconds * 10.0).round() / 10.0;
    Figures {
        zones: rounds.zones,
        services: rounds.services,
        instances: rounds.instances,
        rules: rounds.rules,
        cells: rounds.cells,
        matrix_ms: tenths(median(rounds.matrix_ms)),
        expectations: rounds.expectations,
        check_ms: tenths(median(rounds.check_ms)),
    }
}

fn table(figures: &[Figures], rounds: u32) -> String {
    let mut lines = vec![
        format!("milliseconds, medians of {rounds} rounds"),
        "zones  services  instances  rules    cells   matrix  expectations    check".to_owned(),
    ];
    lines.extend(figures.iter().map(|it| {
        format!(
            "{:>5}{:>10}{:>11}{:>7}{:>9}{:>9.1}{:>14}{:>9.1}",
            it.zones,
            it.services,
            it.instances,
            it.rules,
            it.cells,
            it.matrix_ms,
            it.expectations,
            it.check_ms,
        )
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_names() {
        let rounds = Rounds {
            zones: 6,
            services: 50,
            instances: 300,
            rules: 1040,
            cells: 1804,
            matrix_ms: vec![90.0, 100.04, 400.0],
            expectations: 90000,
            check_ms: vec![7.0],
        };
        let table = table(&[figures(rounds)], 3);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "milliseconds, medians of 3 rounds");
        for (name, value) in [("cells", "1804"), ("matrix", "100.0"), ("check", "7.0")] {
            let end = |line: &str, word: &str| line.find(word).unwrap() + word.len();
            assert_eq!(end(lines[1], name), end(lines[2], value), "{name}");
        }
    }
}
