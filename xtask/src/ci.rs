//! `cargo xtask ci`: every check of CI, the fastest failure first.

use std::time::{Duration, Instant};

use crate::diff;
use crate::repo::{cargo, succeed};
use crate::test::{self, WITH_AWS};

/// A step: its name, and its function.
type Step = (&'static str, fn() -> Result<(), String>);

const STEPS: &[Step] = &[
    ("format", || {
        succeed(&mut cargo(["fmt", "--all", "--check"]))
    }),
    ("lints", || {
        succeed(
            cargo([
                "clippy",
                "--workspace",
                WITH_AWS,
                "--all-targets",
                "--quiet",
            ])
            .args(["--", "--deny", "warnings"]),
        )
    }),
    ("documentation", || {
        succeed(
            cargo([
                "doc",
                "--workspace",
                WITH_AWS,
                "--no-deps",
                "--document-private-items",
                "--quiet",
            ])
            .env("RUSTDOCFLAGS", "--deny warnings"),
        )
    }),
    ("each crate alone", each_alone),
    ("each crate's tests alone", each_tested_alone),
    ("without AWS", || {
        // Code that is excluded by the feature, which all other tests have on.
        succeed(&mut cargo([
            "test",
            "--quiet",
            "--package=landfall-cli",
            "--test=suite",
            "refused_by_a_build_without_it",
        ]))
    }),
    ("tests", || test::run(&test::Options::everything())),
    ("packets against verdicts", diff::in_ci),
];

/// The crates that are published or may be used alone, and their features: none may depend on a
/// feature that only another crate of the workspace turns on.
const ALONE: &[&[&str]] = &[
    &["landfall-provider"],
    &["landfall-aws"],
    &["landfall-aws", "--features=lock"],
    &["landfall-network"],
    &["landfall-network", "--features=aws"],
    &["landfall-compute"],
    &["landfall-compute", "--features=aws"],
    &["landfall-lb"],
    &["landfall-lb", "--features=aws"],
    &["landfall-container"],
    &["landfall-container", "--features=engine"],
    &["landfall-container", "--features=registry"],
    &["landfall-container", "--features=aws"],
    &["landfall-pipeline"],
    &["landfall-kernel"],
    &["landfall-vnet"],
    &["landfall-balancer"],
    &["landfall-sandbox"],
    &["landfall-local"],
    &["landfall-local", "--features=ssh"],
    &["landfall-cli"],
    // What `cargo xtask deploy` builds first.
    &["landfall-cli", "--no-default-features"],
];

fn each_alone() -> Result<(), String> {
    for package in ALONE {
        succeed(cargo(["check", "--quiet", "--package"]).args(*package))?;
    }
    Ok(())
}

/// The crates that may be used alone, with all their features and with none: the program's tests
/// are the workspace's, and the other crates have no features.
const TESTED_ALONE: &[&[&str]] = &[
    &["landfall-network"],
    &["landfall-network", "--all-features"],
    &["landfall-compute"],
    // Without the boot script's tests, which are the same with `aws` and without.
    &["landfall-compute", "--all-features", "--lib", "--test=aws"],
    &["landfall-lb"],
    &["landfall-lb", "--all-features"],
    &["landfall-container"],
    &["landfall-container", "--features=aws"],
];

/// Turns the same features of shared dependencies on as the whole workspace does, so that the step uses
/// the builds of the other steps. [`each_alone`] goes without.
const UNIFIED: &str = "--features=landfall-testkit/unified";

fn each_tested_alone() -> Result<(), String> {
    for package in TESTED_ALONE {
        println!("{}", package.join(" "));
        let mut tests = cargo(["test", "--quiet", "--no-fail-fast", "--package"]);
        succeed(tests.args(*package).arg(UNIFIED).env(test::SEED, "1"))?;
    }
    Ok(())
}

/// Runs every step, and continues after failures.
///
/// # Errors
/// When any step failed; names all that did.
pub(crate) fn run() -> Result<(), String> {
    let mut done = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let started = Instant::now();
        let outcome = step();
        if let Err(why) = &outcome {
            eprintln!("{why}");
        }
        done.push((*name, started.elapsed(), outcome.is_ok()));
    }
    println!("\n{}", summary(&done));
    let failed: Vec<&str> = done
        .iter()
        .filter(|(.., well)| !well)
        .map(|(name, ..)| *name)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

/// A line for each step: its result and its duration.
fn summary(done: &[(&str, Duration, bool)]) -> String {
    done.iter()
        .map(|(name, time, well)| {
            let outcome = if *well { "ok" } else { "FAILED" };
            format!("{outcome:<6} {:>7.1} s  {name}", time.as_secs_f64())
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_failed() {
        let done = [
            ("format", Duration::from_millis(600), true),
            ("tests", Duration::from_secs(71), false),
        ];
        assert_eq!(
            summary(&done),
            "ok         0.6 s  format\nFAILED    71.0 s  tests"
        );
    }
}
