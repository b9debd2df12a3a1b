//! The table of what may still be there: a number for each word, phrase and crate, which may only go down.

use std::collections::BTreeMap;

use super::Finding;

/// Where the table is.
pub(super) const PATH: &str = "xtask/src/tidy/allowed.txt";

/// A line of the table: `word 12 told | the name of the event or value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The line's number, from 1.
    pub(super) line: usize,
    pub(super) rule: String,
    pub(super) number: usize,
    pub(super) term: String,
    /// What to do or write instead.
    pub(super) instead: String,
}

/// The table, with its comments.
#[derive(Debug)]
pub(super) struct Allowed {
    lines: Vec<Result<Row, String>>,
}

/// Where each term is used: files and lines.
pub(super) type Uses = BTreeMap<String, Vec<(String, usize)>>;

impl Allowed {
    pub(super) fn of_checkout() -> Self {
        Self::parse(include_str!("allowed.txt"))
    }

    /// Reads the table. A line that is no row stays as it is.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().enumerate().map(|(index, line)| {
            row(index + 1, line)
                .filter(|_| !line.starts_with('#'))
                .ok_or_else(|| line.to_owned())
        });
        Self {
            lines: lines.collect(),
        }
    }

    pub(super) fn rows(&self, rule: &str) -> impl Iterator<Item = &Row> {
        let rows = self.lines.iter().filter_map(|line| line.as_ref().ok());
        rows.filter(move |row| row.rule == rule)
    }

    /// Compares the table with what is there: a higher number is a new use, a lower one makes the table untrue.
    pub(super) fn check(&self, rule: &'static str, uses: &Uses) -> Vec<Finding> {
        let mut findings = Vec::new();
        for row in self.rows(rule) {
            let Row { term, instead, .. } = row;
            let uses = uses.get(term).map_or(&[][..], Vec::as_slice);
            let now = uses.len();
            if now < row.number {
                let reason = format!(
                    "`{term}` is there {now} times, the table says {}: run `cargo xtask tidy --update`",
                    row.number
                );
                findings.push(Finding::new(PATH, row.line, rule, reason));
            } else if row.number == 0 {
                let banned = uses.iter().map(|(file, line)| {
                    Finding::new(file, *line, rule, format!("`{term}`: {instead}"))
                });
                findings.extend(banned);
            } else if now > row.number {
                let reason = format!(
                    "`{term}` is there {now} times, the table allows {}: {instead}",
                    row.number
                );
                findings.push(Finding::new(PATH, row.line, rule, reason));
            }
        }
        findings
    }

    /// Lowers the numbers of one rule to what is there; never raises one.
    pub(super) fn lower(&mut self, rule: &str, uses: &Uses) {
        for row in self.lines.iter_mut().flatten() {
            if row.rule == rule {
                row.number = row.number.min(uses.get(&row.term).map_or(0, Vec::len));
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| match line {
            Ok(row) => format!(
                "{} {} {} | {}\n",
                row.rule, row.number, row.term, row.instead
            ),
            Err(line) => format!("{line}\n"),
        });
        lines.collect()
    }
}

fn row(line: usize, text: &str) -> Option<Row> {
    let (entry, instead) = text.split_once(" | ")?;
    let (rule, rest) = entry.split_once(' ')?;
    let (number, term) = rest.split_once(' ')?;
    Some(Row {
        line,
        rule: rule.to_owned(),
        number: number.parse().ok()?,
        term: term.to_owned(),
        instead: instead.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "# A comment | with a bar.\nword 0 Foo | say `Bar`\nword 2 old | say `new`\n";

    fn uses(foo: usize, old: usize) -> Uses {
        let of = |number| (1..=number).map(|line| ("a.rs".to_owned(), line)).collect();
        [("Foo".to_owned(), of(foo)), ("old".to_owned(), of(old))].into()
    }

    fn check(foo: usize, old: usize) -> Vec<String> {
        let findings = Allowed::parse(TABLE).check("word", &uses(foo, old));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_stated_numbers_pass() {
        assert!(check(0, 2).is_empty());
    }

    #[test]
    fn a_banned_term_is_found_where_it_stands() {
        assert_eq!(check(1, 2), ["a.rs:1: word: `Foo`: say `Bar`"]);
    }

    #[test]
    fn more_and_fewer_uses_are_findings() {
        let more = format!("{PATH}:3: word: `old` is there 3 times, the table allows 2: say `new`");
        assert_eq!(check(0, 3), [more]);
        assert!(check(0, 1)[0].contains("is there 1 times, the table says 2"));
    }

    #[test]
    fn an_update_lowers_and_never_raises() {
        let mut allowed = Allowed::parse(TABLE);
        allowed.lower("word", &uses(4, 1));
        assert_eq!(allowed.text(), TABLE.replace("word 2 old", "word 1 old"));
    }
}
