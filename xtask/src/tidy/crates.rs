//! Crates of the workspace depend on each other in one direction only, and state versions in one place.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Finding, slashes};
use crate::repo::{cargo, output_of, root};

/// The direct dependencies that each crate of the workspace may have, also for builds. Its tests
/// may also use `landfall-testkit`.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("landfall-provider", &[]),
    ("landfall-aws", &["landfall-provider"]),
    ("landfall-network", WITH_AWS),
    ("landfall-compute", WITH_AWS),
    ("landfall-lb", WITH_AWS),
    ("landfall-container", WITH_AWS),
    // The parts of the local provider do not depend on each other; only its main crate depends on
    // them.
    ("landfall-kernel", &[]),
    (
        "landfall-vnet",
        &["landfall-provider", "landfall-network", "landfall-kernel"],
    ),
    ("landfall-balancer", &["landfall-kernel"]),
    (
        "landfall-sandbox",
        &["landfall-compute", "landfall-container", "landfall-kernel"],
    ),
    (
        "landfall-local",
        &[
            "landfall-provider",
            "landfall-network",
            "landfall-compute",
            "landfall-lb",
            "landfall-container",
            "landfall-kernel",
            "landfall-vnet",
            "landfall-balancer",
            "landfall-sandbox",
        ],
    ),
    ("landfall-pipeline", KINDS),
    (
        "landfall-cli",
        &[
            "landfall-pipeline",
            "landfall-local",
            "landfall-aws",
            "landfall-provider",
            "landfall-network",
            "landfall-compute",
            "landfall-lb",
            "landfall-container",
        ],
    ),
    ("xtask", &["landfall-cli"]),
    ("landfall-testkit", &["landfall-provider"]),
    ("digipay", &[]),
    (
        "custom-pipeline",
        &[
            "landfall-local",
            "landfall-provider",
            "landfall-network",
            "landfall-compute",
            "landfall-lb",
            "landfall-container",
        ],
    ),
    // A network alone, on whatever provider is at hand.
    (
        "network-only",
        &["landfall-provider", "landfall-network", "landfall-local"],
    ),
];

/// The dependencies of a crate of kinds with an AWS implementation.
const WITH_AWS: &[&str] = &["landfall-provider", "landfall-aws"];

/// The interface and every crate of kinds, for crates that combine them.
const KINDS: &[&str] = &[
    "landfall-provider",
    "landfall-network",
    "landfall-compute",
    "landfall-lb",
    "landfall-container",
];

const TESTKIT: &str = "landfall-testkit";

/// A crate of the workspace, as cargo describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or none.
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The crates of the workspace.
pub(super) fn of_checkout() -> Result<Vec<Package>, String> {
    let options = ["metadata", "--format-version=1", "--locked", "--no-deps"];
    let json = output_of(&mut cargo(options))?;
    let metadata: Metadata = serde_json::from_str(&json)
        .map_err(|error| format!("cannot read cargo's metadata: {error}"))?;
    Ok(metadata.packages)
}

/// Checks the direction of dependencies, and where their versions are.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = directions(packages, MAY_KNOW);
    for package in packages {
        // An example that stands for the service of a user has its own.
        if package.name == "digipay" {
            continue;
        }
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap_or_default();
        findings.extend(versions(&package.manifest(), &manifest));
    }
    findings
}

impl Package {
    /// The manifest's path from the root.
    fn manifest(&self) -> String {
        let path = &self.manifest_path;
        slashes(path.strip_prefix(root()).unwrap_or(path))
    }
}

/// Every dependency that the table does not allow, every crate without a row, every row without a crate.
fn directions(packages: &[Package], table: &[(&str, &[&str])]) -> Vec<Finding> {
    const RULE: &str = "crate-direction";
    let is_member = |name: &str| packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    for package in packages {
        let (name, manifest) = (&package.name, package.manifest());
        let Some((_, may_know)) = table.iter().find(|(row, _)| row == name) else {
            let reason = format!("{name} has no row in xtask/src/tidy/crates.rs");
            findings.push(Finding::new(&manifest, 1, RULE, reason));
            continue;
        };
        for Dependency { name: other, kind } in &package.dependencies {
            let for_tests = kind.as_deref() == Some("dev") && other == TESTKIT;
            if is_member(other) && !may_know.contains(&other.as_str()) && !for_tests {
                let reason = format!("{name} must not depend on {other}");
                findings.push(Finding::new(&manifest, 1, RULE, reason));
            }
        }
    }
    let rows = table.iter().filter(|(name, _)| !is_member(name));
    findings.extend(rows.map(|(name, _)| {
        let reason = format!("{name} has a row, and is no crate of the workspace");
        Finding::new("xtask/src/tidy/crates.rs", 1, RULE, reason)
    }));
    findings
}

/// Dependencies whose version does not come from the root's manifest.
fn versions(path: &str, manifest: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if in_dependencies && line.contains('=') && !line.contains("workspace = true") {
            let reason = format!("the version belongs in the root's Cargo.toml: {line}");
            findings.push(Finding::new(path, index + 1, "dependency-version", reason));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::expect_none;
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies.iter();
        Package {
            name: name.to_owned(),
            manifest_path: root().join(name).join("Cargo.toml"),
            dependencies: dependencies
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                })
                .collect(),
        }
    }

    fn reasons(packages: &[Package]) -> Vec<String> {
        let table: &[(&str, &[&str])] = &[("low", &[]), ("high", &["low"]), (TESTKIT, &[])];
        let findings = directions(packages, table);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let reasons = reasons(&[
            package("low", &[("serde", None), ("high", Some("build"))]),
            package("high", &[("low", None), (TESTKIT, Some("dev"))]),
            package(TESTKIT, &[]),
        ]);
        assert_eq!(
            reasons,
            ["low/Cargo.toml:1: crate-direction: low must not depend on high"]
        );
    }

    #[test]
    fn test_tools_are_for_tests_only() {
        let reasons = reasons(&[
            package("low", &[]),
            package("high", &[(TESTKIT, None)]),
            package(TESTKIT, &[]),
        ]);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
    }

    #[test]
    fn the_table_has_a_row_for_every_crate_and_no_more() {
        let reasons = reasons(&[package("low", &[]), package("new", &[])]);
        assert!(reasons[0].contains("new has no row"), "{reasons:?}");
        assert!(reasons[1].contains("high has a row"), "{reasons:?}");
    }

    #[test]
    fn a_version_outside_the_root_is_found() {
        let manifest = "[package]\nedition = \"2024\"\n[dev-dependencies]\n\
            a.workspace = true\nb = { workspace = true }\nc = \"1\"\n";
        let findings = versions("a/Cargo.toml", manifest);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].line, 6);
    }

    #[test]
    fn checkout_keeps_the_direction() {
        expect_none(&check(&of_checkout().unwrap()));
    }
}
