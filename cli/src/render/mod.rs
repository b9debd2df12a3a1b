//! Rendering: pure functions from data to text.
//!
//! The text contains ANSI colours. Callers print it with `anstream`, which removes them where the
//! stream is not a terminal or `NO_COLOR` is set.

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

/// New, finished or healthy.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Changed, or waiting.
pub(crate) const CHANGED: Style = AnsiColor::Yellow.on_default();
/// Deleted, failed or unhealthy.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// Less important.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Most important.
pub(crate) const STRONG: Style = Style::new().bold();

/// The text in a style.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A readable duration: `12 ms`, `3.4 s`, `2 min 5 s`.
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

/// The same URL without a name under `.localhost`, which browsers and curl resolve and most
/// libraries do not.
pub(crate) fn without_name(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_once('/')?;
    let (host, port) = authority.rsplit_once(':')?;
    host.ends_with(".localhost")
        .then(|| format!("http://127.0.0.1:{port}/{path}"))
}

/// A short id for progress: the first characters of a digest distinguish images, and a line stays
/// below 80 columns.
pub(crate) fn short(id: &str) -> String {
    const KEPT: usize = 12;
    match id.split_once("@sha256:") {
        Some((name, digest)) if digest.len() > KEPT && digest.is_char_boundary(KEPT) => {
            format!("{name}@sha256:{}", &digest[..KEPT])
        }
        _ => id.to_owned(),
    }
}

/// The value, or a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Text without control characters that move a terminal's cursor or change its colours: it comes
/// from programs outside Landfall.
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
    fn an_address_for_programs_that_do_not_resolve_localhost() {
        let numeric = without_name("http://shop.localhost:22857/");
        assert_eq!(numeric.as_deref(), Some("http://127.0.0.1:22857/"));
        assert_eq!(without_name("http://shop.elb.amazonaws.com/"), None);
        assert_eq!(without_name("http://203.0.113.9:8000/"), None);
    }

    #[test]
    fn a_digest_is_shown_by_its_first_characters() {
        let digest = "a".repeat(64);
        assert_eq!(
            short(&format!("shop/web@sha256:{digest}")),
            "shop/web@sha256:aaaaaaaaaaaa"
        );
        assert_eq!(short("vpc-01"), "vpc-01");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(tame("\x1b[31mred\x1b[0m\x07 and\rback"), "red andback");
    }
}
