//! The growth of planning with the number of resources, and an apply of many on the simulation.

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::repo;

/// The options of `cargo xtask bench plan`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The numbers of resources
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000, 100_000],
          value_parser = clap::value_parser!(u64).range(10..))]
    resources: Vec<u64>,
    /// How many resources are applied
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..))]
    apply: u64,
    /// Calls under way at once, at the most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    concurrency: u64,
    /// Print the figures as one line of JSON
    #[arg(long)]
    json: bool,
}

/// The initial states by name: empty, unchanged, all different, all unwanted.
const CASES: [&str; 4] = ["create", "keep", "replace", "delete"];

/// The measurements of one process.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
struct Planned {
    seconds: f64,
    peak_kib: Option<u64>,
}

/// The measurements of the apply: create all, probe all, delete all.
#[derive(Debug, Deserialize, Serialize)]
struct Applied {
    /// In CPU seconds.
    seconds: f64,
    virtual_seconds: f64,
    calls: u64,
    most_at_once: u64,
    peak_kib: Option<u64>,
}

/// One number of resources.
#[derive(Debug, Serialize)]
struct Row {
    resources: u64,
    /// By case, in the order of [`CASES`].
    planned: Vec<Planned>,
}

impl Row {
    fn slowest(&self) -> f64 {
        self.planned
            .iter()
            .map(|one| one.seconds)
            .fold(0.0, f64::max)
    }

    fn peak_mib(&self) -> Option<f64> {
        let peaks = self.planned.iter().filter_map(|one| one.peak_kib);
        peaks.max().map(|kib| kib as f64 / 1024.0)
    }
}

/// Everything.
#[derive(Debug, Serialize)]
struct Figures {
    rows: Vec<Row>,
    /// The number of applied resources.
    applied: u64,
    apply: Applied,
}

/// Measures and prints.
///
/// # Errors
/// When the bench fails.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let mut rows = Vec::new();
    for &resources in &options.resources {
        let planned = CASES
            .iter()
            .map(|case| measure(&[format!("--case={case}"), format!("--resources={resources}")]));
        rows.push(Row {
            resources,
            planned: planned.collect::<Result<_, String>>()?,
        });
    }
    let apply = measure(&[
        "--case=apply".to_owned(),
        format!("--resources={}", options.apply),
        format!("--concurrency={}", options.concurrency),
    ])?;
    let figures = Figures {
        rows,
        applied: options.apply,
        apply,
    };
    if options.json {
        let line = serde_json::to_string(&figures).map_err(|error| error.to_string())?;
        println!("{line}");
    } else {
        println!("{}", table(&figures));
    }
    Ok(())
}

/// Runs the bench of `landfall-provider` once.
fn measure<T: for<'de> Deserialize<'de>>(arguments: &[String]) -> Result<T, String> {
    let mut bench = repo::cargo(["bench", "--quiet", "--package=landfall-provider"]);
    bench.args(["--bench=plan", "--"]).args(arguments);
    let printed = repo::output_of(&mut bench)?;
    serde_json::from_str(printed.trim())
        .map_err(|error| format!("the bench's line: {error}: {printed}"))
}

fn table(figures: &Figures) -> String {
    let mut out = format!("{:>9}", "resources");
    for case in CASES {
        out.push_str(&format!("  {case:>9}"));
    }
    out.push_str("  peak memory   growth\n");
    let mut before: Option<&Row> = None;
    for row in &figures.rows {
        out.push_str(&format!("{:>9}", row.resources));
        for one in &row.planned {
            out.push_str(&format!("  {:>7.1} ms", one.seconds * 1000.0));
        }
        let peak = row.peak_mib();
        out.push_str(&peak.map_or(" ".repeat(13), |mib| format!("  {mib:>7.1} MiB")));
        if let Some(before) = before {
            let times = row.resources as f64 / before.resources as f64;
            let longer = row.slowest() / before.slowest();
            out.push_str(&format!("  ×{longer:.1} for ×{times:.0}"));
        }
        out.push('\n');
        before = Some(row);
    }
    let Applied {
        seconds,
        virtual_seconds,
        calls,
        most_at_once,
        peak_kib,
    } = &figures.apply;
    let mib = peak_kib.unwrap_or_default() as f64 / 1024.0;
    out.push_str(&format!(
        "{} made, kept and ended on the simulation, {most_at_once} calls at once at the most: {calls} calls, \
         {virtual_seconds:.0} s of virtual time, {seconds:.1} s of real time, {mib:.0} MiB",
        figures.applied
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_the_slowest_case() {
        let row = |resources, seconds: f64| Row {
            resources,
            planned: vec![
                Planned {
                    seconds: seconds / 2.0,
                    peak_kib: Some(1024),
                },
                Planned {
                    seconds,
                    peak_kib: Some(2048),
                },
            ],
        };
        let figures = Figures {
            rows: vec![row(100, 0.001), row(1_000, 0.012)],
            applied: 10,
            apply: Applied {
                seconds: 1.0,
                virtual_seconds: 2.0,
                calls: 3,
                most_at_once: 4,
                peak_kib: None,
            },
        };
        let table = table(&figures);
        assert!(
            table.contains("12.0 ms      2.0 MiB  ×12.0 for ×10"),
            "{table}"
        );
    }
}
