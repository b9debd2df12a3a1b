//! `cargo xtask test`: all tests, and a line about each one that this machine cannot run.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;

use crate::needs::{self, Missing};
use crate::repo::{cargo, output_of, succeed};

/// The whole workspace with the features for its tests: it includes the AWS provider, and all
/// crates are built once.
pub(crate) const WITH_AWS: &str = "--features=landfall-cli/aws";

/// Nextest's setting of the number of concurrent tests.
const THREADS: &str = "NEXTEST_TEST_THREADS";
/// Where proptest reads the seed of a random test.
pub(crate) const SEED: &str = "PROPTEST_RNG_SEED";
/// The number of tests per processor: most of them wait for emulators, instances and deadlines.
const AT_ONCE: usize = 2;

/// The options of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fail if any test cannot be run here, instead of leaving it out
    #[arg(long)]
    pub(crate) all: bool,
    /// Only this crate (may be repeated)
    #[arg(long, short, value_name = "CRATE")]
    package: Vec<String>,
    /// Seed of the random tests: a number, or `fresh` for a new one
    #[arg(long, default_value = "1", value_parser = seed)]
    seed: u64,
}

/// Reads the option `--seed`.
fn seed(text: &str) -> Result<u64, String> {
    if text == "fresh" {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        return Ok(since.as_secs());
    }
    text.parse()
        .map_err(|_| "expected a whole number, or `fresh`".to_owned())
}

impl Options {
    /// Every test of every crate.
    pub(crate) fn everything() -> Self {
        Self {
            all: true,
            package: Vec::new(),
            seed: 1,
        }
    }

    fn selection(&self) -> Vec<String> {
        if self.package.is_empty() {
            vec!["--workspace".to_owned(), WITH_AWS.to_owned()]
        } else {
            // In the workspace the cli turns features on; alone, a crate would skip its own tests.
            std::iter::once("--all-features".to_owned())
                .chain(
                    self.package
                        .iter()
                        .map(|package| format!("--package={package}")),
                )
                .collect()
        }
    }
}

/// Runs the tests.
///
/// # Errors
/// When a test fails, or with `--all` when a test cannot be run.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let nextest = cargo(["nextest", "--version"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let selection = options.selection();
    let tests = if nextest {
        listed_by_nextest(&selection)?
    } else {
        listed_by_cargo(&selection)?
    };
    if let Some(unknown) = tests.iter().find(|test| needs::is_unknown(&test.name)) {
        return Err(format!(
            "{} says that it needs something that xtask/src/needs.rs does not describe",
            unknown.name
        ));
    }
    let missing = needs::missing(tests.iter().map(|test| test.name.as_str()));
    let left_out = LeftOut::of(&tests, &missing);
    if options.all && !left_out.0.is_empty() {
        eprint!("{}", left_out.report());
        return Err("--all demands every test, and this machine cannot run these".to_owned());
    }

    println!("seed {} (`--seed fresh` draws a new one)", options.seed);
    let outcome = if nextest {
        with_nextest(&selection, &missing, options.seed)
    } else {
        with_cargo(&selection, &missing, options.seed)
    };
    eprint!("{}", left_out.report());
    outcome
}

/// A test and its binary.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Test {
    binary: String,
    name: String,
}

#[derive(Deserialize)]
struct NextestList {
    #[serde(rename = "rust-suites")]
    suites: BTreeMap<String, NextestSuite>,
}

#[derive(Deserialize)]
struct NextestSuite {
    testcases: BTreeMap<String, serde_json::Value>,
}

fn listed_by_nextest(selection: &[String]) -> Result<Vec<Test>, String> {
    let json = output_of(
        cargo(["nextest", "list", "--message-format=json"])
            .args(selection)
            .env("NEXTEST_HIDE_PROGRESS_BAR", "1"),
    )?;
    let list: NextestList = serde_json::from_str(&json)
        .map_err(|error| format!("cannot read nextest's list of tests: {error}"))?;
    Ok(list
        .suites
        .into_iter()
        .flat_map(|(binary, suite)| {
            suite.testcases.into_keys().map(move |name| Test {
                binary: binary.clone(),
                name,
            })
        })
        .collect())
}

fn listed_by_cargo(selection: &[String]) -> Result<Vec<Test>, String> {
    let text = output_of(
        cargo(["test", "--all-targets", "--quiet"])
            .args(selection)
            .args(["--", "--list", "--format=terse"]),
    )?;
    Ok(text
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(|name| Test {
            binary: String::new(),
            name: name.to_owned(),
        })
        .collect())
}

fn with_nextest(selection: &[String], missing: &[Missing], seed: u64) -> Result<(), String> {
    let mut tests = cargo(["nextest", "run", "--no-fail-fast"]);
    tests.args(selection).env(SEED, seed.to_string());
    if std::env::var_os(THREADS).is_none() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        tests.env(THREADS, (AT_ONCE * processors).to_string());
    }
    if !missing.is_empty() {
        let left_out: Vec<String> = missing
            .iter()
            .map(|missing| format!("test(/(^|::){}[^:]*$/)", missing.prefix))
            .collect();
        tests.args(["-E", &format!("not ({})", left_out.join(" + "))]);
    }
    let tests = succeed(&mut tests);
    // Nextest leaves the documentation's examples to cargo.
    let examples = succeed(cargo(["test", "--doc", "--quiet"]).args(selection));
    tests.and(examples)
}

fn with_cargo(selection: &[String], missing: &[Missing], seed: u64) -> Result<(), String> {
    let mut tests = cargo(["test", "--quiet", "--no-fail-fast"]);
    tests.args(selection).arg("--");
    tests.env(SEED, seed.to_string());
    for missing in missing {
        tests.args(["--skip", missing.prefix]);
    }
    succeed(&mut tests)
}

/// The tests that this machine cannot run, by missing requirement.
#[derive(Debug)]
struct LeftOut<'a>(Vec<(&'a Missing, Vec<&'a Test>)>);

impl<'a> LeftOut<'a> {
    fn of(tests: &'a [Test], missing: &'a [Missing]) -> Self {
        Self(
            missing
                .iter()
                .map(|missing| {
                    let concerned = tests
                        .iter()
                        .filter(|test| needs::concerns(missing.prefix, &test.name));
                    (missing, concerned.collect::<Vec<_>>())
                })
                .filter(|(_, tests)| !tests.is_empty())
                .collect(),
        )
    }

    fn report(&self) -> String {
        let number: usize = self.0.iter().map(|(_, tests)| tests.len()).sum();
        if number == 0 {
            return String::new();
        }
        let tests = if number == 1 { "test" } else { "tests" };
        let mut text = format!("\n{number} {tests} left out, which this machine cannot run:\n");
        for (missing, tests) in &self.0 {
            text.push_str(&format!("  {} ({})\n", missing.what, missing.remedy));
            for test in tests {
                text.push_str(&format!("    {} {}\n", test.binary, test.name));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_seed_is_fixed_unless_a_fresh_one_is_asked_for() {
        let seed = |args: &[&str]| {
            let args = ["test"].iter().chain(args);
            Command::try_parse_from(args).map(|command| command.options.seed)
        };
        assert_eq!(seed(&[]).unwrap(), Options::everything().seed);
        assert_eq!(seed(&["--seed", "7"]).unwrap(), 7);
        assert!(seed(&["--seed", "fresh"]).unwrap() > 1_000_000);
        assert!(seed(&["--seed", "x"]).is_err());
    }

    #[test]
    fn each_test_that_is_left_out_is_named_with_the_reason() {
        let test = |name: &str| Test {
            binary: "landfall-container::engine".into(),
            name: name.into(),
        };
        let tests = [
            test("needs_docker_builds"),
            test("a::needs_docker_fails"),
            test("plain"),
        ];
        let missing = [Missing {
            prefix: "needs_docker_",
            what: "no dockerd".into(),
            remedy: "install it: apt-get install docker.io".into(),
        }];
        assert_eq!(
            LeftOut::of(&tests, &missing).report(),
            "\n2 tests left out, which this machine cannot run:\n  \
             no dockerd (install it: apt-get install docker.io)\n    \
             landfall-container::engine needs_docker_builds\n    \
             landfall-container::engine a::needs_docker_fails\n"
        );
        assert_eq!(LeftOut::of(&tests[2..], &missing).report(), "");
    }
}
