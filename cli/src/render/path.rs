//! The path of a connection as a picture, with the block marked.

use landfall_network::reach::{Reach, Verdict};
use landfall_pipeline::{Answer, Change, Explanation};

use super::reach::{arrow, rules};
use super::svg::{CHARACTER, LINE, Svg, wrap};

const MARGIN: usize = 24;
const ROW: usize = 38;
/// The maximum number of characters of a line beside a box.
const LONGEST: usize = 84;

/// The paths of all answers, one below the other.
pub(crate) fn picture(explanation: &Explanation, stack: &str) -> String {
    let names = explanation.answers.iter().flat_map(|answer| {
        let verdict = &answer.verdict;
        let block = verdict.block.iter().map(|block| block.at.to_string());
        verdict
            .hops
            .iter()
            .map(|hop| hop.at.to_string())
            .chain(block)
    });
    let widest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let column = widest * CHARACTER + 28;
    let mut sheet = Sheet {
        svg: Svg::new(),
        column,
        y: MARGIN,
    };
    for answer in &explanation.answers {
        sheet.answer(answer, explanation);
    }
    let (from, to, port) = (&explanation.from, &explanation.to, explanation.port);
    let answer = if explanation.reachable {
        "reachable"
    } else {
        "not reachable"
    };
    let title = format!("{stack}: {from} to {to} on port {port}, {answer}");
    let width = MARGIN * 2 + 40 + column + LONGEST * CHARACTER;
    sheet.svg.finish(&title, (width, sheet.y + MARGIN))
}

struct Sheet {
    svg: Svg,
    /// The width of the boxes.
    column: usize,
    y: usize,
}

impl Sheet {
    fn answer(&mut self, answer: &Answer, explanation: &Explanation) {
        let (class, word) = verdict(&answer.verdict);
        let head = format!("{} → {}:{}  ", answer.from, answer.to, explanation.port);
        self.svg.text("ink name", (MARGIN, self.y + 14), &head);
        let behind = MARGIN + head.chars().count() * CHARACTER;
        self.svg.text(class, (behind, self.y + 14), word);
        self.y += 32;
        let first = self.y;
        for hop in &answer.verdict.hops {
            self.row(
                "box",
                "soft",
                arrow(hop.leg),
                &hop.at.to_string(),
                &[rules(hop)],
            );
        }
        if let Some(block) = &answer.verdict.block {
            let mut lines = vec![block.code.to_string()];
            lines.extend(wrap(&block.reason, LONGEST));
            lines.extend(answer.seen.iter().flat_map(|seen| wrap(seen, LONGEST)));
            self.row("shut", "bad", "✗", &block.at.to_string(), &lines);
        }
        let last = self.y;
        // Beside the boxes' left edge, where the arrows are.
        self.svg.down(MARGIN + 4, first, last.saturating_sub(10));
        for change in &answer.changes {
            let (what, text) = match change {
                Change::File(block) => ("to allow it, in landfall.toml:", block),
                Change::Other(text) => ("to allow it:", text),
            };
            self.line("soft", what);
            for line in text.lines() {
                self.line("good", line);
            }
            self.y += 8;
        }
        self.y += 16;
    }

    fn row(&mut self, class: &str, ink: &str, sign: &str, name: &str, lines: &[String]) {
        let x = MARGIN + 36;
        self.svg.text(ink, (MARGIN + 14, self.y + 20), sign);
        self.svg.rect(class, (x, self.y), (self.column, 30));
        self.svg.text("ink", (x + 12, self.y + 20), name);
        for (index, line) in lines.iter().enumerate() {
            let at = (x + self.column + 14, self.y + 20 + index * LINE);
            self.svg.text(ink, at, line);
        }
        self.y += ROW + lines.len().saturating_sub(1) * LINE;
    }

    fn line(&mut self, class: &str, text: &str) {
        self.svg.text(class, (MARGIN + 36, self.y + 14), text);
        self.y += LINE;
    }
}

fn verdict(verdict: &Verdict) -> (&'static str, &'static str) {
    match verdict.reach {
        Reach::All => ("good", "reachable"),
        Reach::Part => ("part", "reachable in part"),
        Reach::Nothing => ("bad", "not reachable"),
    }
}
