//! What happens while a plan is carried out, told to whoever listens. Nothing here prints.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::name::Key;

/// What is being done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Making it.
    Create,
    /// Changing it in place.
    Update,
    /// Waiting for one that an earlier run has made.
    Await,
    /// Ending it.
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

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// Work on a resource has begun.
    Started {
        /// Which.
        key: Key,
        /// What is being done.
        verb: Operation,
    },
    /// It has an id and is not usable (or not gone) yet.
    Waiting {
        /// Which.
        key: Key,
        /// Its id.
        id: String,
        /// What it is waiting for, in the provider's words.
        why: String,
    },
    /// A line that a tool printed on the way: an image build.
    Output {
        /// Which.
        key: Key,
        /// The line, without its end.
        line: String,
    },
    /// Work on a resource ended well.
    Done {
        /// Which.
        key: Key,
        /// What was done.
        verb: Operation,
        /// Its id.
        id: String,
        /// From start to usable (or gone), in milliseconds.
        took_ms: u64,
    },
    /// Work on a resource failed.
    Failed {
        /// Which.
        key: Key,
        /// What was being done.
        verb: Operation,
        /// Why, in one line.
        error: String,
    },
    /// Something about the run as a whole, such as whom it is waiting for.
    Notice {
        /// What, in one line.
        text: String,
    },
}

/// Where events go: a cheap handle that any number of places can hold.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Calls the function for every event; it must not block.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Tells nobody.
    pub fn nowhere() -> Self {
        Self::to(|_| {})
    }

    /// Tells the listener.
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
