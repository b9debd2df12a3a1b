//! The architecture's invariants, checked on the workspace's sources.
//!
//! A new exception needs a reason beside it. Which crate may depend on which is a rule of `cargo xtask tidy`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The directories with direct kernel calls.
const UNSAFE_ALLOWED: &[&str] = &["local/kernel/src/", "local/sandbox/src/init/"];

/// Words that the planner must not use: time, randomness, I/O, and waiting.
const NOT_IN_PLAN: &[&str] = &[
    "tokio",
    "async",
    "await",
    "futures",
    "aws",
    "aws_sdk",
    "rand",
    "Instant",
    "SystemTime",
    "env",
    "fs",
    "net",
    "process",
    "thread",
    "Provider",
    "Catalog",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The members of the workspace, according to `cargo`.
fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Every Rust file of the workspace, by its path from the root.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let short = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                // An editor may remove a file during this read.
                if let Ok(text) = fs::read_to_string(&path) {
                    sources.insert(short, text);
                }
            }
        }
    }
    assert!(sources.contains_key("testkit/tests/architecture.rs"));
    assert!(sources.contains_key("provider/src/lib.rs"));
    sources
}

/// The code of a file without its line comments and string literals that stand on one line.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            match c {
                '"' if before != '\\' && before != '\'' => in_string = !in_string,
                '/' if !in_string && line[at..].starts_with("//") => break,
                _ if !in_string => code.push(c),
                _ => {}
            }
            before = if before == '\\' && c == '\\' { ' ' } else { c };
        }
        code.push('\n');
    }
    code
}

fn words(text: &str) -> BTreeSet<String> {
    code(text)
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `serde` attributes that make errors unreadable.
fn vague_serde(text: &str) -> Vec<&'static str> {
    let code = code(text).split_whitespace().collect::<String>();
    let attributes: Vec<&str> = code
        .split("serde(")
        .skip(1)
        .map(|rest| rest.split(")]").next().unwrap_or(rest))
        .collect();
    ["untagged", "flatten"]
        .into_iter()
        .filter(|word| {
            attributes
                .iter()
                .any(|attribute| attribute.split(',').any(|one| one == *word))
        })
        .collect()
}

#[test]
fn the_rules_see_what_breaks_them() {
    assert!(words("fn f() { unsafe { g() } }").contains("unsafe"));
    assert!(!words("#![expect(unsafe_code)] // unsafe\nlet x = \"unsafe\";").contains("unsafe"));
    assert!(words("let quote = '\"'; async {}").contains("async"));
    assert_eq!(
        vague_serde("#[serde(rename_all = \"a\", untagged)]"),
        ["untagged"]
    );
    assert_eq!(
        vague_serde("#[serde(\n    default,\n    flatten\n)]"),
        ["flatten"]
    );
    assert!(vague_serde("#[serde(default)] let list = lists.flatten();").is_empty());
}

#[test]
fn libraries_have_no_features_by_default() {
    // The program is no library: who installs it gets all of it.
    let is_program = |package: &Value| package["name"] == "landfall-cli";
    for package in packages().into_iter().filter(|it| !is_program(it)) {
        let name = package["name"].as_str().unwrap();
        let default = package["features"]["default"].as_array();
        assert!(
            default.is_none_or(Vec::is_empty),
            "{name} turns features on by default"
        );
    }
}

/// The crates in a build of this package with these features, according to `cargo`.
fn tree(package: &str, features: &str) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--edges=normal,build", "--prefix=none"])
        .args(["--package", package, "--features", features])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_local_provider_compiles_nothing_of_the_aws_sdk() {
    for package in [
        "landfall-cli",
        "xtask",
        "landfall-local",
        "landfall-pipeline",
    ] {
        let tree = tree(package, "");
        assert!(!tree.contains("aws-"), "{package}:\n{tree}");
    }
}

#[test]
fn each_crate_brings_the_sdks_of_its_own_services_and_no_other() {
    for (package, features, own) in [
        ("landfall-aws", "lock", &["ssm"] as &[_]),
        ("landfall-aws", "quotas", &["servicequotas"]),
        ("landfall-network", "aws", &["ec2"]),
        (
            "landfall-compute",
            "aws",
            &["ec2", "autoscaling", "iam", "ssm"],
        ),
        ("landfall-lb", "aws", &["elasticloadbalancingv2"]),
        ("landfall-container", "aws", &["ecr"]),
    ] {
        let tree = tree(package, features);
        for service in [
            "ec2",
            "autoscaling",
            "iam",
            "ssm",
            "elasticloadbalancingv2",
            "ecr",
            "servicequotas",
        ] {
            let there = tree.contains(&format!("aws-sdk-{service} "));
            assert_eq!(
                there,
                own.contains(&service),
                "{package}: {service}\n{tree}"
            );
        }
    }
}

#[test]
fn the_planner_knows_no_time_no_chance_and_no_provider() {
    let sources = sources();
    let is_planner =
        |path: &str| path == "provider/src/plan.rs" || path.starts_with("provider/src/plan/");
    let planner: Vec<_> = sources
        .iter()
        .filter(|(path, _)| is_planner(path))
        .collect();
    assert!(planner.len() > 1);
    for (path, text) in planner {
        let words = words(text);
        // A check that found no words at all would prove nothing.
        assert!(words.iter().any(|word| word.starts_with("Plan")), "{path}");
        for banned in NOT_IN_PLAN {
            assert!(!words.contains(*banned), "{path} mentions {banned}");
        }
    }
}

#[test]
fn reachability_knows_no_time_no_chance_and_no_provider() {
    let of_reach = |path: &str| path.starts_with("network/src/reach/") && !path.contains("/tests/");
    let files: Vec<(String, String)> = sources()
        .into_iter()
        .filter(|(path, _)| of_reach(path))
        .collect();
    assert!(
        files
            .iter()
            .any(|(path, _)| path.ends_with("trace/walk.rs"))
    );
    // It uses addresses and networks.
    let banned = NOT_IN_PLAN.iter().filter(|word| **word != "net");
    for word in banned {
        for (path, text) in &files {
            assert!(!words(text).contains(*word), "{path} mentions {word}");
        }
    }
}

#[test]
fn the_kernel_is_called_by_hand_in_one_place_only() {
    for (path, text) in sources() {
        if UNSAFE_ALLOWED.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        let words = words(&text);
        assert!(!words.contains("unsafe"), "{path} uses unsafe");
        assert!(
            !words.contains("unsafe_code"),
            "{path} lifts the ban on unsafe"
        );
    }
}

#[test]
fn serialised_forms_are_explicit() {
    for (path, text) in sources() {
        let vague = vague_serde(&text);
        assert!(vague.is_empty(), "{path} uses serde({})", vague.join(", "));
    }
}
