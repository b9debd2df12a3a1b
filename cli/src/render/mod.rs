//! What is shown, as pure functions from data to text.
//!
//! The text carries ANSI colours. Whoever writes it uses `anstream`, which takes them out again where the
//! stream is no terminal or `NO_COLOR` is set.

pub(crate) mod error;
pub(crate) mod matrix;
pub(crate) mod path;
pub(crate) mod plan;
pub(crate) mod reach;
pub(crate) mod releases;
pub(crate) mod status;

mod svg;
mod table;

use std::fmt::Display;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

pub(crate) use table::Table;

/// What is new, done or healthy.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What changes, or waits.
pub(crate) const CHANGED: Style = AnsiColor::Yellow.on_default();
/// What ends, failed or is unhealthy.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What matters most.
pub(crate) const STRONG: Style = Style::new().bold();

/// The text in a style.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A duration as people read it: `12 ms`, `3.4 s`, `2 min 5 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// `1 target`, `2 targets`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// What is there, or a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Text without what would move a terminal's cursor or change its colours: it comes from programs that
/// Landfall does not know.
pub(crate) fn tame(text: &str) -> String {
    anstream::adapter::strip_str(text)
        .to_string()
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (ms, text) in [
            (0, "0 ms"),
            (12, "12 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (3_449, "3.4 s"),
            (59_999, "59.9 s"),
            (125_000, "2 min 5 s"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(tame("\x1b[31mred\x1b[0m\x07 and\rback"), "red andback");
    }
}
