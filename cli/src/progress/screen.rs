//! A text that is kept current: redrawn in place on a terminal, printed again after a change
//! elsewhere.

use std::io::IsTerminal;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The text with every line cut to the width of the terminal, because a wrapped line is not
/// overwritten completely.
fn fitted(text: &str, width: usize) -> String {
    let lines = text
        .lines()
        .map(|line| console::truncate_str(line, width, "…"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The destination of the text.
pub(crate) enum Screen {
    /// In place, and so at any time.
    Terminal(ProgressBar),
    /// One copy after the other.
    Stream { wrote: bool },
}

impl Screen {
    /// The screen for standard output.
    pub(crate) fn for_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::Stream { wrote: false };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self::Terminal(bar)
    }

    /// Whether the text is shown again if only the time has changed.
    pub(crate) fn is_drawn_again(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Shows a text in place of the previous one.
    pub(crate) fn show(&mut self, text: &str) {
        match self {
            Self::Terminal(bar) => {
                let plain = AutoStream::choice(&std::io::stdout()) == ColorChoice::Never;
                let text = fitted(
                    text.trim_end(),
                    usize::from(console::Term::stdout().size().1),
                );
                bar.set_message(match plain {
                    true => anstream::adapter::strip_str(&text).to_string(),
                    false => text,
                });
            }
            Self::Stream { wrote } => {
                let before = if *wrote { "\n" } else { "" };
                *wrote = true;
                crate::output::result(&format!("{before}{text}"));
            }
        }
    }

    /// Leaves the last text on the screen.
    pub(crate) fn leave(&self) {
        if let Self::Terminal(bar) = self {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_width() {
        let text = format!("short\n\x1b[1m{}\x1b[0m", "w".repeat(100));
        let fitted = fitted(&text, 80);
        let plain = anstream::adapter::strip_str(&fitted).to_string();
        let widths: Vec<usize> = plain.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths, [5, 80]);
        assert!(plain.ends_with('…'));
    }
}
