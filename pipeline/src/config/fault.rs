//! What is wrong with a configuration, as plain data: where, what, and what to do about it.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// Something that a configuration may not say, by the path of the key: `service.web.scale.min`.
///
/// This is what a configuration that was put together in Rust is told; a file's [`Fault`] knows the line as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The keys that it is about, the one to change first.
    pub at: Vec<String>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
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

impl fmt::Display for Problem {
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
pub struct Fault {
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

impl Fault {
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
            message,
            hint,
        }
    }
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigErrors {
    /// The file, as it was named.
    pub file: String,
    /// Its text; empty when it could not be read.
    pub source_text: String,
    /// What is wrong with it: at least one fault.
    pub faults: Vec<Fault>,
}

impl ConfigErrors {
    /// A file of which there is nothing to show.
    pub(crate) fn unreadable(file: &str, message: String, hint: &str) -> Self {
        Self {
            file: file.to_owned(),
            source_text: String::new(),
            faults: vec![Fault::at("", 0..0, message, Some(hint.to_owned()))],
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
        Ok(())
    }
}

impl ConfigErrors {
    fn show(&self, fault: &Fault, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(line) = self.source_text.lines().nth(fault.line - 1) else {
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

fn hint(fault: &Fault, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match &fault.hint {
        Some(hint) => write!(f, "\n  hint: {hint}"),
        None => Ok(()),
    }
}
