//! What went wrong, with which resource, what is left behind, and what to do about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{Key, Kind};

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

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// A failure, told so that the reader can act on it.
///
/// [`Display`](fmt::Display) gives what was being done and why it failed in one line, and leaves the
/// source to [`source`](std::error::Error::source).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Error(Box<Facts>);

/// Behind a box: results are handed on often, and seldom hold an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    kind: ErrorKind,
    doing: Option<String>,
    why: String,
    left: Left,
    hint: Option<String>,
    /// Further lines that belong to the failure, such as a program's last output.
    details: Vec<String>,
    /// For how long it is known to pass, where that is longer than usual.
    #[serde(default)]
    passes_within: Duration,
    #[serde(with = "chain")]
    source: Option<Source>,
}

impl Error {
    /// A failure of this sort, with the reason in one line.
    pub fn new(kind: ErrorKind, why: impl fmt::Display) -> Self {
        Self(Box::new(Facts {
            kind,
            doing: None,
            why: why.to_string(),
            left: Left::Nothing,
            hint: None,
            details: Vec::new(),
            passes_within: Duration::ZERO,
            source: None,
        }))
    }

    /// Says what was being done, unless something closer to the failure has said it: `creating nat-gateway/a`.
    #[must_use]
    pub fn doing(mut self, verb: &str, key: &Key) -> Self {
        self.0.doing.get_or_insert_with(|| format!("{verb} {key}"));
        self
    }

    /// Says what was being listed, unless something closer to the failure has said what was being done.
    #[must_use]
    pub fn listing(mut self, kind: &Kind) -> Self {
        self.0
            .doing
            .get_or_insert_with(|| format!("listing {kind}"));
        self
    }

    /// Says what is left behind.
    #[must_use]
    pub fn left(mut self, left: Left) -> Self {
        self.0.left = left;
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hint = Some(hint.to_string());
        self
    }

    /// Says what to do about it, unless something closer to the failure has said it.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: &str) -> Self {
        self.0.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Says how often it was tried, if more than once, and for how long.
    #[must_use]
    pub(crate) fn tried(mut self, times: u32, over: Duration) -> Self {
        if times > 1 {
            let seconds = over.as_secs_f64().round();
            self.0
                .why
                .push_str(&format!(" (tried {times} times in {seconds} s)"));
        }
        self
    }

    /// Adds lines that belong to the failure.
    #[must_use]
    pub fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.0.details.extend(lines);
        self
    }

    /// Says how long it may take until what failed for a [passing reason](ErrorKind::is_transient) goes well, where that
    /// is longer than the engine would try.
    #[must_use]
    pub fn passes_within(mut self, time: Duration) -> Self {
        self.0.passes_within = time;
        self
    }

    /// How long it may take until it goes well.
    pub(crate) fn time_limit(&self) -> Duration {
        self.0.passes_within
    }

    /// Names the error that caused this one.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is left behind.
    pub fn left_behind(&self) -> &Left {
        &self.0.left
    }

    /// What to do about it, if anything is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Further lines that belong to the failure.
    pub fn detail_lines(&self) -> &[String] {
        &self.0.details
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = &self.0.doing {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.0.why)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Sources on their way between processes: what each one says, the nearest first.
mod chain {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Source;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct RemoteError {
        text: String,
        source: Option<Box<Self>>,
    }

    pub(super) fn serialize<S: Serializer>(
        source: &Option<Source>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let nearest = source
            .as_deref()
            .map(|source| source as &dyn std::error::Error);
        serializer.collect_seq(
            std::iter::successors(nearest, |error| error.source()).map(ToString::to_string),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Source>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let reported = texts.into_iter().rev().fold(None, |source, text| {
            Some(Box::new(RemoteError { text, source }))
        });
        Ok(
            reported
                .map(|reported| Arc::from(reported as Box<dyn std::error::Error + Send + Sync>)),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_error_reads_back_whole_with_its_sources() {
        let key = "instance/bastion".parse().unwrap();
        let inner = Error::new(ErrorKind::Other, "the disk is full").caused_by("ENOSPC");
        let error = Error::new(ErrorKind::Unavailable, "no answer")
            .doing("creating", &key)
            .left(Left::Unknown)
            .hint("make room")
            .details(["last line".to_owned()])
            .caused_by(inner);
        let wire = serde_json::to_string(&error).unwrap();
        let back: Error = serde_json::from_str(&wire).unwrap();

        assert_eq!(back.to_string(), "creating instance/bastion: no answer");
        let source = back.source().unwrap();
        assert_eq!(source.to_string(), "the disk is full");
        assert_eq!(source.source().unwrap().to_string(), "ENOSPC");
        assert_eq!(serde_json::to_string(&back).unwrap(), wire);
        assert_eq!(
            (back.kind(), back.left_behind(), back.hint_text()),
            (ErrorKind::Unavailable, &Left::Unknown, Some("make room"))
        );
    }
}
