//! Stack locks: one change to a stack at a time.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::StackName;

/// The holder of a lock: stored with the lock, and shown to callers that find it taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The operation: `deploy`, `destroy`.
    pub doing: String,
    /// The user and machine: `ana@build-3`.
    pub who: String,
    /// The process id on that machine.
    pub pid: u32,
    /// The start time, to the second; RFC 3339 in UTC in JSON.
    #[serde(with = "crate::rfc3339")]
    pub since: SystemTime,
}

impl Holder {
    /// This process, from now on. The time is truncated to whole seconds, so that a stored holder
    /// equals itself when it is read back.
    pub fn now(doing: impl Into<String>, who: impl Into<String>) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            doing: doing.into(),
            who: who.into(),
            pid: std::process::id(),
            since: UNIX_EPOCH + Duration::from_secs(now.as_secs()),
        }
    }
}

/// `deploy by ana@build-3, process 4711, since 2026-11-22T16:52:16Z`
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            doing,
            who,
            pid,
            since,
        } = self;
        let since = humantime::format_rfc3339_seconds(*since);
        write!(f, "{doing} by {who}, process {pid}, since {since}")
    }
}

/// A lock that is held until it is [released](Self::release) or this guard is dropped.
pub struct LockGuard {
    ending: Ending,
    lost: BoxFuture<'static, LockLoss>,
}

/// The reason why a held lock was lost. The run cannot continue.
#[derive(Debug, Clone)]
pub enum LockLoss {
    /// The provider has exited, and with it every resource that it held.
    Ended(Error),
    /// The provider does not answer; its resources may still exist.
    Silent(Error),
}

enum Ending {
    Drop(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send>),
    Call(BoxFuture<'static, Result<()>>),
}

impl LockGuard {
    /// A lock that is released when `held` is dropped, such as a connection.
    pub fn new(held: impl Send + 'static) -> Self {
        Self::ending(Ending::Drop(Box::new(held)))
    }

    /// A lock whose release needs a call. Only [`release`](Self::release) makes that call: a guard
    /// that is dropped without it leaves the lock taken, until somebody
    /// [breaks](StackLock::break_lock) it.
    pub fn with_release(release: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self::ending(Ending::Call(Box::pin(release)))
    }

    fn ending(ending: Ending) -> Self {
        Self {
            ending,
            lost: futures::future::pending().boxed(),
        }
    }

    /// A lock that is lost when the future `lost` returns. The data that the future owns is dropped
    /// with the lock.
    #[must_use]
    pub fn lost_with(mut self, lost: impl Future<Output = LockLoss> + Send + 'static) -> Self {
        self.lost = lost.boxed();
        self
    }

    /// Returns when the lock is lost, at most once; never returns for a provider that cannot detect
    /// a loss.
    pub async fn lost(&mut self) -> LockLoss {
        let loss = (&mut self.lost).await;
        self.lost = futures::future::pending().boxed();
        loss
    }

    /// Releases the lock.
    ///
    /// # Errors
    /// When the provider did not accept the release; the lock may then still be taken.
    pub async fn release(self) -> Result<()> {
        match self.ending {
            Ending::Drop(_) => Ok(()),
            Ending::Call(release) => release.await,
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// The result of an attempt to take a lock.
#[derive(Debug)]
pub enum Attempt {
    /// The caller holds the lock.
    Taken(LockGuard),
    /// Another holder has the lock.
    Busy(Holder),
}

/// A provider that allows one run at a time to change a stack.
///
/// No operation waits for a lock to become free. The caller waits, by trying again.
#[async_trait]
pub trait StackLock: Send + Sync {
    /// Takes the lock if it is free, and returns its holder if it is not.
    async fn lock(&self, stack: &StackName, holder: &Holder) -> Result<Attempt>;

    /// The holder of the lock; `None` when it is free.
    async fn holder(&self, stack: &StackName) -> Result<Option<Holder>>;

    /// Takes the lock away from this holder, whose run died without releasing it. A lock that is
    /// free or has another holder by now is not changed, and that is no error: see
    /// [`holder`](Self::holder).
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) where locks end with their process: no stale lock can
    /// exist.
    async fn break_lock(&self, stack: &StackName, holder: &Holder) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_was_stored_is_the_same_when_read_back() {
        let holder = Holder::now("deploy", "ana@build-3");
        let stored = serde_json::to_string(&holder).unwrap();
        assert_eq!(serde_json::from_str::<Holder>(&stored).unwrap(), holder);
    }

    #[test]
    fn a_holder_is_told_with_its_time_in_utc() {
        let holder = Holder {
            pid: 4711,
            since: UNIX_EPOCH + Duration::from_secs(1_795_366_336),
            ..Holder::now("deploy", "ana@build-3")
        };
        let text = "deploy by ana@build-3, process 4711, since 2026-11-22T16:52:16Z";
        assert_eq!(holder.to_string(), text);
        let json = serde_json::to_value(&holder).unwrap();
        assert_eq!(json["since"], "2026-11-22T16:52:16Z");
    }
}
