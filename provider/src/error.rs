//! Errors: the failure, its resource, the state left behind, and a hint for the reader.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{Key, Kind};

/// The result of a provider's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of failure. The engine decides by the kind and never by a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The named resource does not exist.
    NotFound,
    /// A resource with that name or address already exists.
    AlreadyExists,
    /// The resource cannot be deleted or changed while others use it.
    InUse,
    /// The caller lacks the permission.
    Denied,
    /// Too many calls; a later call succeeds.
    Throttled,
    /// A quota is exhausted.
    Limit,
    /// The request is invalid; a retry cannot succeed.
    Invalid,
    /// The operation exceeded its time limit.
    Timeout,
    /// The provider did not answer.
    Unavailable,
    /// None of the above.
    Other,
}

impl ErrorKind {
    /// Whether the same call may succeed later without any change.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::InUse)
    }
}

/// The state that a failed action left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// Nothing: the same as before the action.
    Nothing,
    /// The resource with this id.
    Resource(String),
    /// Unknown: the answer was lost or late. The next run finds out.
    Unknown,
}

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// A failure with the context that a reader needs to act on it.
///
/// [`Display`](fmt::Display) prints the operation and the reason in one line, and leaves the source
/// to [`source`](std::error::Error::source).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Error(Box<Facts>);

/// Boxed: results are passed often, and rarely hold an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    kind: ErrorKind,
    doing: Option<String>,
    why: String,
    left: Left,
    hint: Option<String>,
    /// Further lines of the failure, such as a program's last output.
    details: Vec<String>,
    /// The time after which a transient failure is over, if longer than usual.
    #[serde(default)]
    passes_within: Duration,
    #[serde(with = "chain")]
    source: Option<Source>,
}

impl Error {
    /// Creates an error of this kind, with the reason in one line.
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

    /// Adds the operation, unless code closer to the failure has set it: `creating nat-gateway/a`.
    #[must_use]
    pub fn doing(mut self, verb: &str, key: &Key) -> Self {
        self.0.doing.get_or_insert_with(|| format!("{verb} {key}"));
        self
    }

    /// Adds the listing as the operation, unless code closer to the failure has set the operation.
    #[must_use]
    pub fn listing(mut self, kind: &Kind) -> Self {
        self.0
            .doing
            .get_or_insert_with(|| format!("listing {kind}"));
        self
    }

    /// Sets the state left behind.
    #[must_use]
    pub fn left(mut self, left: Left) -> Self {
        self.0.left = left;
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hint = Some(hint.to_string());
        self
    }

    /// Sets the hint, unless code closer to the failure has set it.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: &str) -> Self {
        self.0.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Adds the number of attempts, if more than one, and their total time.
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

    /// Adds detail lines.
    #[must_use]
    pub fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.0.details.extend(lines);
        self
    }

    /// Sets the time within which a [transient failure](ErrorKind::is_transient) is over, for
    /// failures that outlast the engine's usual retries.
    #[must_use]
    pub fn passes_within(mut self, time: Duration) -> Self {
        self.0.passes_within = time;
        self
    }

    /// The time limit for retries.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        self.0.passes_within
    }

    /// Sets the cause.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The state left behind.
    pub fn left_behind(&self) -> &Left {
        &self.0.left
    }

    /// The hint, if any.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The detail lines.
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

/// The serialized form of an error's sources: the message of each, the nearest first.
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
