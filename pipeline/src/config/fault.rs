//! What is wrong with a configuration, as plain data: where, what, and what to do about it.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// Something that a configuration may not say, by the path of the key: `service.web.scale.min`.
///
/// This is what a configuration that was put together in Rust is told; a file's [`LocatedDiagnostic`] knows the line as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The keys that it is about, the one to change first.
    pub at: Vec<String>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A problem of one key.
    pub(crate) fn new(at: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            at: vec![at.into()],
            message: message.to_string(),
            hint: None,
        }
    }

    /// Names a further key that has a part in it.
    #[must_use]
    pub(crate) fn and(mut self, at: impl Into<String>) -> Self {
        self.at.push(at.into());
        self
    }

    /// Says what to do about it.
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

/// A place in a file that cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LocatedDiagnostic {
    /// The bytes of the source text that it is about.
    pub span: Range<usize>,
    /// The line where they start, from 1.
    pub line: usize,
    /// The character of that line where they start, from 1.
    pub column: usize,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl LocatedDiagnostic {
    /// A fault at these bytes of the text; a span that leaves the text is cut to it.
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

/// The longest message, in bytes: one that quotes what stands there may be as long as the file.
const LONGEST_MESSAGE: usize = 600;

/// How many faults are told of one file, the first ones: nobody reads more at once.
pub(crate) const MOST_FAULTS: usize = 20;

/// The longest line of a file that is quoted, in bytes.
const LONGEST_QUOTED: usize = 400;

/// A message without its middle, if it is too long: what is quoted stands there.
fn shortened(message: String) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message;
    }
    let start = message.floor_char_boundary(LONGEST_MESSAGE / 2);
    let end = message.ceil_char_boundary(message.len() - LONGEST_MESSAGE / 2);
    format!("{}…{}", &message[..start], &message[end..])
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigErrors {
    /// The file, as it was named.
    pub file: String,
    /// Its text; empty when it could not be read.
    pub source_text: String,
    /// What is wrong with it: at least one fault, and the first twenty of many.
    pub faults: Vec<LocatedDiagnostic>,
    /// How many faults there are beyond these.
    pub more: usize,
}

impl ConfigErrors {
    /// A file of which there is nothing to show.
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

/// Every fault with its place, its line underlined, and its hint.
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
    /// How many faults there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.faults.len() + self.more
    }

    /// The line that a fault is in, unless it is too long to be quoted.
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
        // A tab before the place is kept, so that the marks stand under it at any tab width.
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
