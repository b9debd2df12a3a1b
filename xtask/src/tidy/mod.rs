//! `cargo xtask tidy`: rules about the checkout that the compiler does not check.
//!
//! A rule is a function from a [`Tree`] to its findings, so that a test can give it a tree that breaks it.

mod allowed;
mod crates;
mod cycles;
mod directions;
mod files;
mod licences;
mod scan;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use clap::Args;

use self::allowed::Allowed;
use crate::repo::root;

/// What `cargo xtask tidy` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Lower the numbers in xtask/src/tidy/allowed.txt to what the checkout has now
    #[arg(long)]
    update: bool,
}

/// Checks every rule and prints each finding as `file:line: rule: reason`.
///
/// # Errors
/// When a rule has a finding, or the checkout cannot be read.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let tree = Tree::of_checkout()?;
    let mut allowed = Allowed::of_checkout();
    if options.update {
        for (rule, counts) in [
            ("word", words::words(&tree, &allowed)),
            ("phrase", words::phrases(&tree, &allowed)),
            ("cycle", cycles::in_cycles(&tree)),
        ] {
            allowed.lower(rule, &counts);
        }
        let path = root().join(allowed::PATH);
        std::fs::write(&path, allowed.text())
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let mut findings = Vec::new();
    findings.extend(words::check(&tree, &allowed));
    findings.extend(cycles::check(&tree, &allowed));
    findings.extend(directions::check(&tree));
    findings.extend(files::check(&tree));
    findings.extend(crates::check(&crates::of_checkout()?));
    findings.extend(licences::check()?);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err("1 finding".to_owned()),
        number => Err(format!("{number} findings")),
    }
}

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    rule: &'static str,
    reason: String,
}

impl Finding {
    fn new(file: &str, line: usize, rule: &'static str, reason: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            rule,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            reason,
        } = self;
        write!(f, "{file}:{line}: {rule}: {reason}")
    }
}

/// The Rust files, documents and manifests of a checkout: each text by its path from the root.
#[derive(Debug, Default)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn of_checkout() -> Result<Self, String> {
        let mut files = BTreeMap::new();
        let mut folders = vec![root()];
        while let Some(folder) = folders.pop() {
            let failed = |error| format!("cannot read {}: {error}", folder.display());
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                if entry.file_type().map_err(failed)?.is_dir() {
                    if name != "target" && !name.starts_with('.') {
                        folders.push(path);
                    }
                } else if name.ends_with(".rs") || name.ends_with(".md") || name == "Cargo.toml" {
                    // An editor may remove a file while this reads.
                    if let Ok(text) = std::fs::read_to_string(&path) {
                        let path = path.strip_prefix(root()).unwrap_or(&path);
                        files.insert(slashes(path), text);
                    }
                }
            }
        }
        if files.len() < 50 {
            return Err(format!("the checkout has only {} files", files.len()));
        }
        Ok(Self(files))
    }

    /// The files whose name ends in `suffix`.
    fn ending(&self, suffix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(move |(path, _)| path.ends_with(suffix))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    #[cfg(test)]
    fn made_of(files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        Self(
            files
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }
}

fn slashes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

/// Fails with every finding, one a line.
#[cfg(test)]
fn expect_none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        let finding = Finding::new("a/src/lib.rs", 7, "word", "`Foo` is banned");
        assert_eq!(finding.to_string(), "a/src/lib.rs:7: word: `Foo` is banned");
    }
}
