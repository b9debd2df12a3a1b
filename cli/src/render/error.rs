//! A failure as people read it: what was being done, why it failed, what it wrote, what is left, what to do.

use std::error::Error as StdError;

use landfall_provider::{Error, ErrorKind, Left};
use serde::Serialize;

use super::{BAD, DIM, STRONG, paint, tame};

/// A failure, in the shape in which it is shown and written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// What was being done and why it failed, in one line.
    pub(crate) message: String,
    /// What sort of failure it is, where that is known.
    pub(crate) kind: Option<ErrorKind>,
    /// What is behind it, from the nearest cause to the first.
    pub(crate) causes: Vec<String>,
    /// Lines that belong to it, such as a program's last output.
    pub(crate) details: Vec<String>,
    /// What it left behind, where that is known.
    pub(crate) left: Option<Left>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Report {
    /// A failure that has no more to say than this.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            kind: None,
            causes: Vec::new(),
            details: Vec::new(),
            left: None,
            hint: None,
        }
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Any error, with the errors behind it.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Self {
        Self {
            causes: causes(error),
            ..Self::new(error.to_string())
        }
    }
}

impl From<&Error> for Report {
    fn from(error: &Error) -> Self {
        Self {
            kind: Some(error.kind()),
            details: error.detail_lines().to_vec(),
            left: Some(error.left_behind().clone()),
            hint: error.hint_text().map(str::to_owned),
            ..Self::of(error)
        }
    }
}

/// The chain behind an error. An error that repeats its source in its own text is shown once.
fn causes(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut shown = error.to_string();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !shown.ends_with(&text) {
            causes.push(text.clone());
        }
        shown = text;
        next = cause.source();
    }
    causes
}

/// The failure for people, with a newline at its end.
pub(crate) fn render(report: &Report) -> String {
    let mut lines = Vec::new();
    let mut message = report.message.lines();
    lines.push(format!(
        "{}{} {}",
        paint(BAD.bold(), "error"),
        paint(STRONG, ":"),
        tame(message.next().unwrap_or_default())
    ));
    lines.extend(message.map(|line| format!("  {}", tame(line))));
    for cause in &report.causes {
        let mut cause = cause.lines();
        let first = tame(cause.next().unwrap_or_default());
        lines.push(format!("  {} {first}", paint(DIM, "because:")));
        lines.extend(cause.map(|line| format!("           {}", tame(line))));
    }
    for line in &report.details {
        lines.push(format!("  {} {}", paint(DIM, "│"), tame(line)));
    }
    match &report.left {
        None | Some(Left::Nothing) => {}
        Some(Left::Resource(id)) => {
            lines.push(format!("  {} {id}", paint(DIM, "left behind:")));
        }
        Some(Left::Unknown) => lines.push(format!(
            "  {} not known; the next run finds out",
            paint(DIM, "left behind:")
        )),
    }
    if let Some(hint) = &report.hint {
        let mut hint = hint.lines();
        lines.push(format!(
            "  {} {}",
            paint(STRONG, "hint:"),
            hint.next().unwrap_or_default()
        ));
        lines.extend(hint.map(|line| format!("        {line}")));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use landfall_provider::Key;

    use super::*;

    fn shown(report: &Report) -> String {
        anstream::adapter::strip_str(&render(report)).to_string()
    }

    #[test]
    fn a_failure_says_everything_that_it_knows_once() {
        let key: Key = "nat-gateway/a".parse().unwrap();
        let error = Error::new(ErrorKind::Unavailable, "the provider did not answer")
            .caused_by(io::Error::new(
                io::ErrorKind::ConnectionRefused,
                "connection refused",
            ))
            .details(["last \x1b[1mline".to_owned()])
            .left(Left::Unknown)
            .hint("is it running?\nlook with `landfall status`")
            .doing("creating", &key);
        insta::assert_snapshot!(shown(&Report::from(&error)), @r"
        error: creating nat-gateway/a: the provider did not answer
          because: connection refused
          │ last line
          left behind: not known; the next run finds out
          hint: is it running?
                look with `landfall status`
        ");
    }

    #[test]
    fn a_cause_that_the_message_ends_with_is_not_told_twice() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "cannot read: {}", self.0)
            }
        }
        impl StdError for Outer {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let report = Report::of(&Outer(io::Error::other("disk on fire")));
        insta::assert_snapshot!(shown(&report), @"error: cannot read: disk on fire");
    }

    #[test]
    fn the_json_has_every_part() {
        let report = Report::from(&Error::new(ErrorKind::InUse, "another run").hint("wait"));
        insta::assert_snapshot!(serde_json::to_string(&report).unwrap(), @r#"{"message":"another run","kind":"in-use","causes":[],"details":[],"left":"nothing","hint":"wait"}"#);
    }
}
