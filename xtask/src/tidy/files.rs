//! Rules about single files: their length, their first line, the names of their tests, benches only by name.

use super::scan::{scan, tokens};
use super::{Finding, Tree};

/// The most lines that a source file may have.
const LONGEST_FILE: usize = 600;

/// The most characters that the name of a test may have, without its modules.
const LONGEST_TEST_NAME: usize = 60;

/// The rules that need one file only.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.ending(".rs");
    files
        .flat_map(|(path, source)| {
            let mut findings = length_and_purpose(path, source);
            findings.extend(test_names(path, source));
            findings.extend(bench_by_name(path, source));
            findings
        })
        .collect()
}

fn length_and_purpose(path: &str, source: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.lines().count();
    if lines > LONGEST_FILE {
        let reason = format!("{lines} lines, at most {LONGEST_FILE}");
        findings.push(Finding::new(path, lines, "file-length", reason));
    }
    let is_test_module = path.ends_with("/tests.rs");
    if !is_test_module && !source.starts_with("//! ") {
        let reason = "the first line must say what the file is for";
        findings.push(Finding::new(path, 1, "first-line", reason));
    }
    if source.starts_with("//! Placeholder") {
        findings.push(Finding::new(
            path,
            1,
            "first-line",
            "the file is a placeholder",
        ));
    }
    findings
}

fn test_names(path: &str, source: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_test = false;
    for (index, line) in scan(source).iter().enumerate() {
        let attribute = line.code.trim();
        // `#[test]`, `#[tokio::test]`, `#[tokio::test(start_paused = true)]`.
        if attribute.starts_with("#[") && tokens(attribute).contains(&"test") {
            is_test |= !attribute.contains("cfg");
        }
        let tokens = tokens(&line.code);
        let name = tokens.windows(2).find(|pair| pair[0] == "fn");
        if let Some([_, name]) = name {
            let length = name.chars().count();
            if std::mem::take(&mut is_test) && length > LONGEST_TEST_NAME {
                let reason =
                    format!("`{name}` has {length} characters, at most {LONGEST_TEST_NAME}");
                findings.push(Finding::new(path, index + 1, "test-name", reason));
            }
        }
    }
    findings
}

/// A bench without a harness is executed by `cargo test --all-targets` like a test: only `cargo bench` passes `--bench`.
fn bench_by_name(path: &str, source: &str) -> Option<Finding> {
    let is_bench = path.contains("/benches/") && source.contains("\nfn main()");
    (is_bench && !source.contains("\"--bench\"")).then(|| {
        let reason = "a bench runs only with the argument --bench";
        Finding::new(path, 1, "bench", reason)
    })
}

#[cfg(test)]
mod tests {
    use super::super::expect_none;
    use super::*;

    fn rules(path: &str, source: &str) -> Vec<String> {
        let findings = check(&Tree::made_of(&[(path, source)]));
        let shown = |finding: &Finding| format!("{}:{}", finding.rule, finding.line);
        findings.iter().map(shown).collect()
    }

    #[test]
    fn long_files_are_found() {
        let of = |lines: usize| format!("//! Long.\n{}", "\n".repeat(lines - 1));
        assert!(rules("a/src/a.rs", &of(LONGEST_FILE)).is_empty());
        assert_eq!(
            rules("a/src/a.rs", &of(LONGEST_FILE + 1)),
            ["file-length:601"]
        );
    }

    #[test]
    fn files_without_a_purpose_are_found() {
        assert_eq!(rules("a/src/a.rs", "fn f() {}\n"), ["first-line:1"]);
        assert_eq!(rules("a/src/a.rs", "//! Placeholder.\n"), ["first-line:1"]);
        assert!(rules("a/src/a/tests.rs", "use super::*;\n").is_empty());
    }

    #[test]
    fn long_test_names_are_found() {
        let of = |before: &str, length: usize| {
            format!(
                "//! Tests.\n{before}\nasync fn {}() {{}}\n",
                "a".repeat(length)
            )
        };
        for test in [
            "#[test]",
            "#[tokio::test(start_paused = true)]",
            "    #[test]\n#[ignore]",
        ] {
            let long = rules("a/tests/a.rs", &of(test, LONGEST_TEST_NAME + 1));
            assert_eq!(long.len(), 1, "{test}: {long:?}");
            assert!(rules("a/tests/a.rs", &of(test, LONGEST_TEST_NAME)).is_empty());
        }
        for other in ["", "// #[test]", "#[cfg(test)]"] {
            let long = rules("a/tests/a.rs", &of(other, LONGEST_TEST_NAME + 1));
            assert!(long.is_empty(), "{other}: {long:?}");
        }
    }

    #[test]
    fn benches_that_run_as_tests_are_found() {
        assert_eq!(
            rules("a/benches/a.rs", "//! A.\nfn main() {}\n"),
            ["bench:1"]
        );
        let by_name = "//! A.\nfn main() { if has(\"--bench\") {} }\n";
        assert!(rules("a/benches/a.rs", by_name).is_empty());
    }

    #[test]
    fn checkout_keeps_the_rules_of_files() {
        let tree = Tree::of_checkout().unwrap();
        let benches = tree
            .ending(".rs")
            .filter(|(path, _)| path.contains("/benches/"));
        assert!(benches.count() >= 4);
        expect_none(&check(&tree));
    }
}
