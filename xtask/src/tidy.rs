//! Rules about the checkout that no compiler checks, enforced by tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::repo::{cargo, output_of, root};

/// The licences allowed in the dependency tree, as in `deny.toml`.
fn allowed_licences() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = text.split_once("allow = [").unwrap().1;
    let list = list.split_once(']').unwrap().0;
    list.lines()
        .filter_map(|line| {
            line.trim()
                .trim_end_matches(',')
                .strip_prefix('"')?
                .strip_suffix('"')
        })
        .map(str::to_owned)
        .collect()
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
    manifest_path: PathBuf,
}

fn metadata(options: &[&str]) -> Metadata {
    let json = output_of(cargo(["metadata", "--format-version=1", "--locked"]).args(options));
    serde_json::from_str(&json.unwrap()).unwrap()
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = allowed_licences();
    let mut broken = Vec::new();
    // Dependencies of other platforms need not be downloaded here.
    let platform = format!("--filter-platform={}", host());
    for package in metadata(&[&platform]).packages {
        let licence = package.license.unwrap_or_default();
        if !permitted(&licence, &allowed) {
            broken.push(format!("{}: {licence}", package.name));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The platform of this compiler: `x86_64-unknown-linux-gnu`.
fn host() -> String {
    let about = output_of(Command::new("rustc").arg("-vV")).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

/// Whether an SPDX expression can be satisfied with the allowed licences: `OR` needs one side,
/// `AND` both.
fn permitted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Some crates still use the old slash for `OR`.
    let expression = expression.replace('/', " OR ");
    let tokens: Vec<&str> = expression
        .split_inclusive(['(', ')'])
        .flat_map(|part| match part.strip_suffix(['(', ')']) {
            Some(before) => vec![before, &part[before.len()..]],
            None => vec![part],
        })
        .flat_map(str::split_whitespace)
        .collect();
    let mut rest = tokens.as_slice();
    let permitted = alternatives(&mut rest, allowed);
    permitted && rest.is_empty()
}

fn alternatives(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut permitted = conjunction(tokens, allowed);
    while tokens.first() == Some(&"OR") {
        *tokens = &tokens[1..];
        permitted |= conjunction(tokens, allowed);
    }
    permitted
}

fn conjunction(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut permitted = licence(tokens, allowed);
    while tokens.first() == Some(&"AND") {
        *tokens = &tokens[1..];
        permitted &= licence(tokens, allowed);
    }
    permitted
}

fn licence(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((first, rest)) = tokens.split_first() else {
        return false;
    };
    *tokens = rest;
    if *first == "(" {
        let permitted = alternatives(tokens, allowed);
        *tokens = tokens.strip_prefix(&[")"]).unwrap_or(tokens);
        return permitted;
    }
    // An exception only adds permissions: `Apache-2.0 WITH LLVM-exception`.
    if tokens.first() == Some(&"WITH") {
        *tokens = tokens.get(2..).unwrap_or_default();
    }
    allowed.contains(*first)
}

#[test]
fn licence_expressions_are_understood() {
    let allowed: BTreeSet<String> = ["MIT", "Apache-2.0", "Unicode-3.0"]
        .map(str::to_owned)
        .into();
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(permitted(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND Y"] {
        assert!(!permitted(bad, &allowed), "{bad}");
    }
}

#[test]
fn benches_run_only_where_they_are_asked_for() {
    // A bench without a harness is executed by `cargo test --all-targets` like any test; only
    // `cargo bench` passes this flag.
    let mut benches = 0;
    for file in rust_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let is_bench = file.components().any(|part| part.as_os_str() == "benches");
        if is_bench && text.contains("\nfn main()") {
            benches += 1;
            assert!(text.contains("\"--bench\""), "{}", file.display());
        }
    }
    assert!(benches >= 4, "{benches}");
}

/// The maximum length of a source file, in lines.
const LONGEST_FILE: usize = 600;

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(root()).unwrap_or(&file).display();
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            broken.push(format!("{shown}: {lines} lines, at most {LONGEST_FILE}"));
        }
        let is_test_module = file.file_name().is_some_and(|name| name == "tests.rs");
        if !is_test_module && !text.starts_with("//! ") {
            broken.push(format!(
                "{shown}: its first line does not say what it is for"
            ));
        }
        if text.starts_with("//! Placeholder") {
            broken.push(format!("{shown}: is a placeholder"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![root()];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    ahead.push(path);
                }
            } else if path.extension() == Some(Path::new("rs").as_os_str()) {
                found.push(path);
            }
        }
    }
    assert!(
        found.len() > 50,
        "the checkout has more files than {}",
        found.len()
    );
    found
}

#[test]
fn versions_of_dependencies_stand_in_one_place() {
    let mut broken = Vec::new();
    for package in &metadata(&["--no-deps"]).packages {
        let name = &package.name;
        // An example of a third-party service has its own.
        if name == "digipay" {
            continue;
        }
        let text = std::fs::read_to_string(&package.manifest_path).unwrap();
        let mut in_dependencies = false;
        for line in text.lines() {
            if line.starts_with('[') {
                in_dependencies = line.ends_with("dependencies]");
            } else if in_dependencies && line.contains('=') && !line.contains("workspace = true") {
                broken.push(format!("{name}: {line}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
