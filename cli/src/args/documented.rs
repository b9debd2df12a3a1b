//! Tests that the program accepts every command line in README.md and docs/.

use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::Cli;

/// Tasks of a checkout that are not commands of the program.
const TASKS: [&str; 1] = ["test"];

/// The pages in the checkout.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = docs
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect();
    pages.push(root.join("README.md"));
    pages.sort();
    pages
}

/// The program's arguments in one line of a shell, once for each call in the line.
fn calls(line: &str) -> Vec<Vec<&str>> {
    let mut calls = Vec::new();
    for part in line.split("&&").flat_map(|part| part.split('|')) {
        let words = part.split_whitespace();
        // A comment or a redirection ends the arguments, and variables precede the program.
        let words = words.take_while(|word| !word.starts_with(['#', '>']));
        let words: Vec<&str> = words
            .skip_while(|word| word.contains('=') && !word.starts_with('-'))
            .collect();
        match words.as_slice() {
            ["cargo", "xtask", task, ..] if TASKS.contains(task) => {}
            ["landfall", arguments @ ..] | ["cargo", "xtask", arguments @ ..] => {
                calls.push(arguments.to_vec());
            }
            _ => {}
        }
    }
    calls
}

#[test]
fn every_documented_command_line_is_accepted() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut is_code = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            let Some(line) = line.trim_start().strip_prefix("$ ").filter(|_| is_code) else {
                continue;
            };
            for arguments in calls(line) {
                count += 1;
                let arguments = std::iter::once("landfall").chain(arguments);
                if let Err(error) = Cli::try_parse_from(arguments) {
                    panic!("{}:{}: {line}\n{error}", page.display(), index + 1);
                }
            }
        }
    }
    // Fewer would mean that the lines are no longer found.
    assert!(count >= 20, "{count}");
}

#[test]
fn calls_are_found_in_a_line_of_a_shell() {
    let found =
        calls("AWS_PROFILE=x landfall plan --json | jq . && cargo xtask status > out # now");
    assert_eq!(found, [vec!["plan", "--json"], vec!["status"]]);
    assert!(calls("cargo xtask test").is_empty());
    assert!(Cli::try_parse_from(["landfall", "deploy", "--no-such-option"]).is_err());
}
