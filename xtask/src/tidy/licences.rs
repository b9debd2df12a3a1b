//! Every dependency has a licence that `deny.toml` allows.

use std::collections::BTreeSet;
use std::process::Command;

use serde::Deserialize;

use super::Finding;
use crate::repo::{cargo, output_of, root};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
}

/// Checks every package that a build for this platform takes in.
pub(super) fn check() -> Result<Vec<Finding>, String> {
    let deny = std::fs::read_to_string(root().join("deny.toml"))
        .map_err(|error| format!("cannot read deny.toml: {error}"))?;
    // What other platforms use need not even be downloaded here.
    let platform = format!("--filter-platform={}", host()?);
    let options = ["metadata", "--format-version=1", "--locked", &platform];
    let json = output_of(&mut cargo(options))?;
    let metadata: Metadata = serde_json::from_str(&json)
        .map_err(|error| format!("cannot read cargo's metadata: {error}"))?;
    Ok(refused(&metadata.packages, &allowed_licences(&deny)))
}

/// The packages with a licence that is not allowed, or with none.
fn refused(packages: &[Package], allowed: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let licence = package.license.as_deref().unwrap_or_default();
        if !permitted(licence, allowed) {
            let reason = format!("{} has the licence `{licence}`", package.name);
            findings.push(Finding::new("deny.toml", 1, "licence", reason));
        }
    }
    findings
}

/// The licences in the list `allow` of `deny.toml`.
fn allowed_licences(deny: &str) -> BTreeSet<String> {
    let list = deny.split_once("allow = [").map_or("", |(_, list)| list);
    let list = list.split_once(']').map_or("", |(list, _)| list);
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

/// The platform of this compiler: `x86_64-unknown-linux-gnu`.
fn host() -> Result<String, String> {
    let about = output_of(Command::new("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc does not name its platform".to_owned())
}

/// Whether an SPDX expression can be fulfilled with what is allowed: `OR` needs one side, `AND` both.
fn permitted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Some crates still write the slash of old for `OR`.
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
    // An exception only gives more freedom: `Apache-2.0 WITH LLVM-exception`.
    if tokens.first() == Some(&"WITH") {
        *tokens = tokens.get(2..).unwrap_or_default();
    }
    allowed.contains(*first)
}

#[cfg(test)]
mod tests {
    use super::super::expect_none;
    use super::*;

    #[test]
    fn expressions_are_understood() {
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
    fn a_licence_that_is_not_allowed_is_found() {
        let package = |name: &str, licence: Option<&str>| Package {
            name: name.to_owned(),
            license: licence.map(str::to_owned),
        };
        let packages = [
            package("good", Some("MIT OR GPL-3.0")),
            package("bad", Some("GPL-3.0")),
            package("none", None),
        ];
        let allowed = allowed_licences("allow = [\n    \"MIT\",\n]\n");
        let findings = refused(&packages, &allowed);
        let reasons: Vec<_> = findings.iter().map(|one| one.reason.as_str()).collect();
        assert_eq!(
            reasons,
            ["bad has the licence `GPL-3.0`", "none has the licence ``"]
        );
    }

    #[test]
    fn checkout_has_only_allowed_licences() {
        expect_none(&check().unwrap());
    }
}
