//! A text that is kept current: drawn again in its place on a terminal, written anew after a change elsewhere.

use std::io::IsTerminal;

use anstream::{AutoStream, ColorChoice};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where the text goes.
pub(crate) enum Screen {
    /// Always at the same place, and so at any time.
    Terminal(ProgressBar),
    /// One after the other.
    Stream { wrote: bool },
}

impl Screen {
    /// What suits standard output.
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

    /// Whether the text is worth showing although nothing but the time has changed.
    pub(crate) fn is_drawn_again(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Shows a text in the place of the one before.
    pub(crate) fn show(&mut self, text: &str) {
        match self {
            Self::Terminal(bar) => {
                let plain = AutoStream::choice(&std::io::stdout()) == ColorChoice::Never;
                let text = text.trim_end();
                bar.set_message(match plain {
                    true => anstream::adapter::strip_str(text).to_string(),
                    false => text.to_owned(),
                });
            }
            Self::Stream { wrote } => {
                let before = if *wrote { "\n" } else { "" };
                *wrote = true;
                crate::output::result(&format!("{before}{text}"));
            }
        }
    }

    /// Leaves what was shown last as it is.
    pub(crate) fn leave(&self) {
        if let Self::Terminal(bar) = self {
            bar.abandon();
        }
    }
}
