//! What went wrong, with which resource, what is left behind, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Key;

/// The result of a provider's verb.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is: the engine acts on this and never on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// What was named is not there.
    NotFound,
    /// Something of that name or address is there already.
    AlreadyExists,
    /// It cannot go or change while others use it.
    InUse,
    /// The caller may not.
    Denied,
    /// Too many calls; later it goes.
    Throttled,
    /// A quota is used up.
    Limit,
    /// The request itself is wrong; repeating it is of no use.
    Invalid,
    /// It took longer than it may.
    Timeout,
    /// The provider did not answer.
    Unavailable,
    /// None of the above.
    Other,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::InUse)
    }
}

/// What a failed action left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// Nothing: as if it had not been tried.
    Nothing,
    /// The resource with this id.
    Resource(String),
    /// Not known: the answer was lost or did not come in time. The next run finds out.
    Unknown,
}

/// A failure, told so that the reader can act on it.
///
/// [`Display`](fmt::Display) gives what was being done and why it failed in one line, and leaves the
/// source to [`source`](std::error::Error::source).
#[derive(Debug, Serialize, Deserialize)]
pub struct Error {
    kind: ErrorKind,
    doing: Option<String>,
    why: String,
    left: Left,
    hint: Option<String>,
    /// Further lines that belong to the failure, such as a program's last output.
    details: Vec<String>,
    #[serde(skip)]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of this sort, with the reason in one line.
    pub fn new(kind: ErrorKind, why: impl fmt::Display) -> Self {
        Self {
            kind,
            doing: None,
            why: why.to_string(),
            left: Left::Nothing,
            hint: None,
            details: Vec::new(),
            source: None,
        }
    }

    /// Says what was being done, unless something closer to the failure has said it: `creating nat-gateway/a`.
    #[must_use]
    pub fn doing(mut self, verb: &str, key: &Key) -> Self {
        self.doing.get_or_insert_with(|| format!("{verb} {key}"));
        self
    }

    /// Says what is left behind.
    #[must_use]
    pub fn left(mut self, left: Left) -> Self {
        self.left = left;
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds lines that belong to the failure.
    #[must_use]
    pub fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }

    /// Names the error that caused this one.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is left behind.
    pub fn left_behind(&self) -> &Left {
        &self.left
    }

    /// What to do about it, if anything is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Further lines that belong to the failure.
    pub fn detail_lines(&self) -> &[String] {
        &self.details
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = &self.doing {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
