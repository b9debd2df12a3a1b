//! Diagnostics of a configuration, as plain data: the place, the problem and a hint.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// An error of a configuration, with the path of its key: `service.web.scale.min`.
///
/// A configuration that was built in Rust gets this type; a file gets [`LocatedDiagnostic`], which also has the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The keys of the error; the first one should be changed.
    pub at: Vec<String>,
    /// The problem, in one line.
    pub message: String,
    /// The hint.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A diagnostic of one key.
    pub(crate) fn new(at: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            at: vec![at.into()],
            message: message.to_string(),
            hint: None,
        }
    }

    /// Adds another key of the error.
    #[must_use]
    pub(crate) fn and(mut self, at: impl Into<String>) -> Self {
        self.at.push(at.into());
        self
    }

    /// Sets the hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.at.first().filter(|at| !at.is_empty()) {
            write!(f, "{at}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// A diagnostic with its place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocatedDiagnostic {
    /// The bytes of the source text.
    pub span: Range<usize>,
    /// The first line, from 1.
    pub line: usize,
    /// The first character in that line, from 1.
    pub column: usize,
    /// The problem, in one line.
    pub message: String,
    /// The hint.
    pub hint: Option<String>,
}

impl LocatedDiagnostic {
    /// A diagnostic at these bytes of the text; the span is cut to the length of the text.
    pub(crate) fn at(
        source: &str,
        span: Range<usize>,
        message: String,
        hint: Option<String>,
    ) -> Self {
        let start = source.floor_char_boundary(span.start.min(source.len()));
        let end = source.floor_char_boundary(span.end.clamp(start, source.len()));
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            span: start..end,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: shortened(message),
            hint: hint.map(shortened),
        }
    }
}

/// The maximum length of a message, in bytes: a quoted value may be as long as the file.
const LONGEST_MESSAGE: usize = 600;

/// The maximum number of diagnostics of a file: the first ones are reported.
pub(crate) const MOST_FAULTS: usize = 20;

/// The maximum length of a quoted line, in bytes.
const LONGEST_QUOTED: usize = 400;

/// A message without its middle, if it is too long: the middle is the quoted value.
fn shortened(message: String) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message;
    }
    let start = message.floor_char_boundary(LONGEST_MESSAGE / 2);
    let end = message.ceil_char_boundary(message.len() - LONGEST_MESSAGE / 2);
    format!("{}…{}", &message[..start], &message[end..])
}

/// All diagnostics of a file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigErrors {
    /// The path of the file, as it was given.
    pub file: String,
    /// Its text; empty if it could not be read.
    pub source_text: String,
    /// The diagnostics: at least one, and at most the first twenty.
    pub faults: Vec<LocatedDiagnostic>,
    /// The number of further diagnostics.
    pub more: usize,
}

impl ConfigErrors {
    /// A file without text to show.
    pub(crate) fn unreadable(file: &str, message: String, hint: &str) -> Self {
        Self {
            file: file.to_owned(),
            source_text: String::new(),
            faults: vec![LocatedDiagnostic::at(
                "",
                0..0,
                message,
                Some(hint.to_owned()),
            )],
            more: 0,
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Every diagnostic with its place, its marked line and its hint.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            self.show(fault, f)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl ConfigErrors {
    /// The number of diagnostics.
    #[must_use]
    pub fn count(&self) -> usize {
        self.faults.len() + self.more
    }

    /// The line of a diagnostic, unless it is too long.
    #[must_use]
    pub fn line_of(&self, fault: &LocatedDiagnostic) -> Option<&str> {
        let before = self.source_text.get(..fault.span.start)?;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.source_text[start..].lines().next()?;
        (line.len() <= LONGEST_QUOTED).then_some(line)
    }

    fn show(&self, fault: &LocatedDiagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(line) = self.line_of(fault) else {
            write!(f, "{}: {}", self.file, fault.message)?;
            return hint(fault, f);
        };
        writeln!(
            f,
            "{}:{}:{}: {}",
            self.file, fault.line, fault.column, fault.message
        )?;
        let number = fault.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs before the place are kept, so that the marks align at any tab width.
        let indent: String = line
            .chars()
            .take(fault.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let here = line.chars().skip(fault.column - 1).count();
        let marked = self.source_text[fault.span.clone()].chars().count();
        let marks = "^".repeat(marked.min(here).max(1));
        writeln!(f, " {number} | {line}")?;
        write!(f, " {margin} | {indent}{marks}")?;
        hint(fault, f)
    }
}

fn hint(fault: &LocatedDiagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match &fault.hint {
        Some(hint) => write!(f, "\n  hint: {hint}"),
        None => Ok(()),
    }
}
