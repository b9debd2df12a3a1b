//! Reachability and its blocks, as text.

use std::collections::BTreeSet;

use landfall_network::reach::{FlowDirection, Hop, Reach, Verdict};
use landfall_pipeline::{Answer, Change, Explanation, Violation};

use super::{BAD, CHANGED, DIM, GOOD, STRONG, Table, paint, tame};

/// Required connections that would be blocked, and forbidden ones that would be allowed.
pub(crate) fn broken(all: &[Violation]) -> Vec<String> {
    let mut lines = Vec::new();
    for broken in all {
        for invariant in &broken.invariants {
            lines.push(format!("  {}", paint(STRONG, tame(invariant))));
        }
        if let Some(block) = broken.block() {
            let code = paint(BAD, block.code);
            lines.push(format!("    {code} {}", tame(&block.reason)));
            let seen = broken.seen.map(|seen| format!("    {}", paint(DIM, seen)));
            lines.extend(seen);
            if broken.changes.is_empty() && block.remedy.is_some() {
                lines.push("    the addition above fixes this too".to_owned());
            }
        } else if broken.verdict.reachable() {
            lines.extend(let_through(&broken.verdict));
        }
        lines.extend(changes(&broken.changes, broken.reachable, "    "));
    }
    lines
}

/// The rules that allow a forbidden request.
fn let_through(verdict: &Verdict) -> Vec<String> {
    let requests = verdict
        .hops
        .iter()
        .filter(|hop| hop.leg == FlowDirection::Request);
    let with_rules = requests.filter(|hop| !hop.rules.is_empty());
    let lines = with_rules.map(|hop| {
        let by = paint(DIM, "allowed by");
        format!("    {by} {} {}", hop.at, rules(hop))
    });
    lines.collect()
}

/// The text to add to the file, or to remove from it, and the changes that the file cannot express.
fn changes(changes: &[Change], add: bool, indent: &str) -> Vec<String> {
    let (mut blocks, mut others) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::File(block) => blocks.push(block),
            Change::Other(text) => others.push(text),
        }
    }
    let mut lines = Vec::new();
    for other in others {
        let what = paint(CHANGED, "not possible in landfall.toml:");
        lines.push(format!("{indent}{what} {}", tame(other)));
    }
    if blocks.is_empty() {
        return lines;
    }
    let what = if add { "add to" } else { "take out of" };
    lines.push(format!("{indent}{} landfall.toml:", paint(CHANGED, what)));
    let mut remarks = BTreeSet::new();
    for block in blocks {
        lines.push(String::new());
        // One remark is enough for all its blocks.
        let mut new = |line: &&str| !line.starts_with('#') || remarks.insert((*line).to_owned());
        let block = block.lines().filter(&mut new).map(tame);
        lines.extend(block.map(|line| format!("{indent}  {line}")));
    }
    lines.push(String::new());
    lines
}

/// An answer: the verdict, the path, the block and its remedy.
pub(crate) fn explanation(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    let port = explanation.port;
    // Open paths look alike; if none is blocked, one of them is printed in full.
    let stopped = explanation
        .answers
        .iter()
        .find(|it| !it.verdict.reachable());
    let in_full = stopped.or(explanation.answers.first());
    for answer in &explanation.answers {
        let (style, word) = verdict(&answer.verdict);
        let head = format!("{} → {}:{port}", answer.from, answer.to);
        lines.push(format!(
            "{}  {}",
            paint(STRONG, tame(&head)),
            paint(style, word)
        ));
        if in_full.is_some_and(|full| std::ptr::eq(full, answer)) {
            lines.extend(way(answer));
        }
    }
    lines.join("\n") + "\n"
}

fn verdict(verdict: &Verdict) -> (anstyle::Style, &'static str) {
    match verdict.reach {
        Reach::All => (GOOD, "reachable"),
        Reach::Part => (CHANGED, "reachable in part"),
        Reach::Nothing => (BAD, "not reachable"),
    }
}

/// The hops one below the other, and the block last.
fn way(answer: &Answer) -> Vec<String> {
    let mut table = Table::default();
    for hop in &answer.verdict.hops {
        table.row(
            format!("  {} ", arrow(hop.leg)),
            [
                (anstyle::Style::new(), hop.at.to_string()),
                (DIM, rules(hop)),
            ],
        );
    }
    if let Some(block) = &answer.verdict.block {
        table.row(
            format!("  {} ", paint(BAD, "✗")),
            [(BAD, block.at.to_string()), (BAD, block.code.to_string())],
        );
    }
    let mut lines = table.lines();
    if let Some(block) = &answer.verdict.block {
        lines.push(format!("      {}", tame(&block.reason)));
        let seen = answer
            .seen
            .map(|seen| format!("      {}", paint(DIM, seen)));
        lines.extend(seen);
        lines.extend(changes(&answer.changes, true, "  "));
    }
    lines
}

pub(super) fn arrow(leg: FlowDirection) -> &'static str {
    match leg {
        FlowDirection::Request => "→",
        FlowDirection::Return => "←",
    }
}

/// The rules that allow a packet at a hop.
pub(super) fn rules(hop: &Hop) -> String {
    let rules: Vec<String> = hop
        .rules
        .iter()
        .map(|rule| tame(&rule.to_string()))
        .collect();
    rules.join(", ")
}
