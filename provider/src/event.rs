//! Events of a running plan, for any listener. Nothing here prints.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::name::Key;

/// The operation on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Create it.
    Create,
    /// Update it in place.
    Update,
    /// Wait for a resource that an earlier run created.
    Await,
    /// Delete it.
    Delete,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "creating",
            Self::Update => "updating",
            Self::Await => "waiting for",
            Self::Delete => "deleting",
        })
    }
}

/// One event.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// Work on a resource has started.
    Started {
        /// The resource.
        key: Key,
        /// The operation.
        verb: Operation,
    },
    /// The resource has an id and is not usable (or not gone) yet.
    Waiting {
        /// The resource.
        key: Key,
        /// Its id.
        id: String,
        /// The reason for waiting, in the provider's words.
        why: String,
    },
    /// A line of a tool's output, such as an image build.
    Output {
        /// The resource.
        key: Key,
        /// The line, without its line break.
        line: String,
    },
    /// Work on a resource succeeded.
    Done {
        /// The resource.
        key: Key,
        /// The operation.
        verb: Operation,
        /// Its id.
        id: String,
        /// The time from start to usable (or gone), in milliseconds.
        took_ms: u64,
    },
    /// Work on a resource failed.
    Failed {
        /// The resource.
        key: Key,
        /// The operation.
        verb: Operation,
        /// The reason, in one line.
        error: String,
    },
    /// A message about the whole run, such as the lock holder that it waits for.
    Notice {
        /// The message, in one line.
        text: String,
    },
}

/// The destination of events: a cheap handle that can be cloned freely.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Calls the function for every event; it must not block.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Discards all events.
    pub fn nowhere() -> Self {
        Self::to(|_| {})
    }

    /// Sends an event to the listener.
    pub fn emit(&self, event: Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// Whole milliseconds, for events and results.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
