//! Words and phrases that the project does not use: one idea has one name, and it is the term of the field.

use std::collections::BTreeMap;

use super::allowed::{Allowed, Uses};
use super::scan::{scan, tokens};
use super::{Finding, Tree};

/// Compares the banned words in code, and the banned phrases in text, with the table.
pub(super) fn check(tree: &Tree, allowed: &Allowed) -> Vec<Finding> {
    let mut findings = allowed.check("word", &words(tree, allowed));
    findings.extend(allowed.check("phrase", &phrases(tree, allowed)));
    findings
}

/// The identifiers in Rust code that are or contain a word of the table: `Told` is in `ToldEvent`, not in `Toldo`.
pub(super) fn words(tree: &Tree, allowed: &Allowed) -> Uses {
    let banned: Vec<(&str, Vec<&str>, Vec<&str>)> = allowed
        .rows("word")
        .map(|row| {
            let replacement = row.instead.split('`').nth(1).unwrap_or_default();
            (row.term.as_str(), parts(&row.term), parts(replacement))
        })
        .collect();
    let mut uses = Uses::new();
    // Most identifiers stand in many places.
    let mut known: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, source) in tree.ending(".rs") {
        for (index, line) in scan(source).iter().enumerate() {
            for token in tokens(&line.code) {
                if !known.contains_key(token) {
                    let inner = parts(token);
                    let has = |term: &[&str]| {
                        !term.is_empty() && inner.windows(term.len()).any(|window| window == term)
                    };
                    // The word may be a part of what replaces it: `Loss` and `DataLoss`.
                    let terms = banned
                        .iter()
                        .filter(|(_, parts, replacement)| has(parts) && !has(replacement));
                    known.insert(token.to_owned(), terms.map(|(term, ..)| *term).collect());
                }
                for term in &known[token] {
                    let uses = uses.entry((*term).to_owned()).or_default();
                    uses.push((path.to_owned(), index + 1));
                }
            }
        }
    }
    uses
}

/// The parts of an identifier: `is_ToldEvent` is `is`, `Told`, `Event`; `MAX_AGE` is `MAX`, `AGE`.
fn parts(identifier: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in identifier.split('_').filter(|part| !part.is_empty()) {
        let mut start = 0;
        let mut before = 'A';
        for (at, c) in part.char_indices() {
            if c.is_uppercase() && !before.is_uppercase() {
                parts.push(&part[start..at]);
                start = at;
            }
            before = c;
        }
        parts.push(&part[start..]);
    }
    parts
}

/// The phrases of the table in comments, string literals and documents. Case does not matter.
pub(super) fn phrases(tree: &Tree, allowed: &Allowed) -> Uses {
    let mut uses = Uses::new();
    let mut look = |path: &str, line: usize, text: &str| {
        let text = text.to_lowercase();
        for row in allowed.rows("phrase") {
            let found = text.match_indices(&row.term).filter(|(at, term)| {
                let is_word = |c: char| c.is_alphanumeric() || c == '_';
                !text[..*at].ends_with(is_word) && !text[at + term.len()..].starts_with(is_word)
            });
            for _ in found {
                let uses = uses.entry(row.term.clone()).or_default();
                uses.push((path.to_owned(), line));
            }
        }
    };
    for (path, source) in tree.ending(".rs") {
        for (index, line) in scan(source).iter().enumerate() {
            look(path, index + 1, &line.text);
        }
    }
    for (path, text) in tree.ending(".md") {
        for (index, line) in text.lines().enumerate() {
            look(path, index + 1, line);
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::super::expect_none;
    use super::*;

    const TABLE: &str =
        "word 0 Foo | say `Bar`\nword 0 foo | say `bar`\nphrase 0 goes along | say `follows`\n";

    fn lines(file: &str, text: &str) -> Vec<usize> {
        let tree = Tree::made_of(&[(file, text)]);
        let findings = check(&tree, &Allowed::parse(TABLE));
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_banned_word_in_code_is_found() {
        assert_eq!(
            lines("a.rs", "fn f() {}\nstruct FooBaz;\nlet a_foo = 1;\n"),
            [2, 3]
        );
    }

    #[test]
    fn a_replacement_may_contain_the_word() {
        let allowed = Allowed::parse("word 0 Foo | say `TheFoo`\n");
        let tree = Tree::made_of(&[("a.rs", "TheFoo, TheFooOf,\nFoo, MyFoo")]);
        let lines: Vec<usize> = check(&tree, &allowed).iter().map(|one| one.line).collect();
        assert_eq!(lines, [2, 2]);
    }

    #[test]
    fn parts_of_words_comments_and_strings_are_not() {
        assert!(
            lines(
                "a.rs",
                "struct Fool; // Foo\nlet a = \"foo\"; fn food() {}\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_banned_phrase_in_text_is_found() {
        assert_eq!(
            lines("a.rs", "// It\n// Goes along.\nf(\"goes along\");\n"),
            [2, 3]
        );
        assert_eq!(lines("a.md", "It goes along.\n"), [1]);
        assert!(lines("a.md", "It forgoes along, it goes alongside.\n").is_empty());
    }

    #[test]
    fn checkout_keeps_to_the_table() {
        let tree = Tree::of_checkout().unwrap();
        expect_none(&check(&tree, &Allowed::of_checkout()));
    }
}
