//! Notices that the cloud has ended or is stopped, for everybody who waits for it.
//!
//! The kernel closes the connections of a cloud that ends, however it ends. One whose processes are stopped (SIGSTOP)
//! keeps them open and says nothing, so whoever waits for it looks at its processes too: at both for an answer, which the
//! inner process may owe to the outer one, and at the inner one for a stream or a lock, which it keeps alone.

use std::sync::atomic::Ordering;
use std::time::Duration;

use landfall_provider::{Error, ErrorKind, Left, LockLoss, Result};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::{Connection, Local};
use crate::process::{self, Pids};

/// How long a cloud may be stopped before those who wait for it give up.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);

/// How often its processes are looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The processes whose stop is noticed.
#[derive(Clone, Copy)]
enum Watched {
    Both,
    Inner,
}

impl Local {
    /// Awaits an answer of the cloud, unless a process of it has been stopped for a while.
    ///
    /// # Errors
    /// Which processes are stopped, and what lets them go on.
    pub(super) async fn unless_stopped<T>(&self, answer: impl Future<Output = T>) -> Result<T> {
        self.watching(Watched::Both, answer).await
    }

    /// Awaits the next part of a stream, unless the process that sends it has been stopped for a while.
    ///
    /// # Errors
    /// Which process is stopped, and what lets it go on.
    pub(super) async fn unless_silent<T>(&self, part: impl Future<Output = T>) -> Result<T> {
        self.watching(Watched::Inner, part).await
    }

    async fn watching<T>(&self, watched: Watched, answer: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            pids = self.stopped(watched) => Err(self.stopped_error(&pids)),
        }
    }

    /// Returns with those of the watched processes that have been stopped for a while.
    async fn stopped(&self, watched: Watched) -> Pids {
        // One call has waited already: the next ones need not wait again.
        if self.0.stopped.load(Ordering::Relaxed) {
            match self.stopped_now(watched) {
                Some(pids) => return pids,
                None => self.0.stopped.store(self.is_stopped(), Ordering::Relaxed),
            }
        }
        let mut since: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(pids) = self.stopped_now(watched) else {
                since = None;
                continue;
            };
            if since.get_or_insert_with(Instant::now).elapsed() >= STOPPED_WITHIN {
                self.0.stopped.store(true, Ordering::Relaxed);
                return pids;
            }
        }
    }

    fn stopped_now(&self, watched: Watched) -> Option<Pids> {
        let pids = process::pids(&self.0.dir)?;
        match watched {
            Watched::Both => pids.stopped(),
            Watched::Inner => pids.inner().stopped(),
        }
    }

    /// Whether a process of the cloud is stopped now.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped_now(Watched::Both).is_some()
    }

    /// Returns when a lock that this connection holds is lost, and why.
    pub(super) async fn lock_lost(self, mut connection: Connection) -> LockLoss {
        let mut rest = [0];
        // The cloud says nothing more: this ends when the connection does.
        match self.unless_silent(connection.read(&mut rest)).await {
            Ok(_) => LockLoss::Ended(self.lost()),
            Err(stopped) => LockLoss::Silent(stopped),
        }
    }

    /// Whether there is a cloud that listens.
    pub(super) async fn listens(&self) -> bool {
        matches!(self.connect().await, Ok(Some(_)))
    }
}

impl Local {
    fn stopped_error(&self, pids: &Pids) -> Error {
        match process::pids(&self.0.dir) {
            Some(all) if all.is_known() && !all.is_serving() => ended(pids),
            _ => stopped(pids),
        }
    }
}

/// The inner process has ended, and with it all that the cloud held; the outer one is stopped before it can tidy up.
fn ended(pids: &Pids) -> Error {
    let text = format!("the local cloud has ended, and its process {pids} is stopped");
    Error::new(ErrorKind::Unavailable, text)
        .left(Left::Nothing)
        .hint(format_args!(
            "`kill -CONT {pids}` lets that process end; then run the same command again"
        ))
}

fn stopped(pids: &Pids) -> Error {
    let (process, is) = match pids.count() {
        1 => ("process", "is"),
        _ => ("processes", "are"),
    };
    Error::new(
        ErrorKind::Unavailable,
        format_args!("the local cloud does not answer: its {process} {pids} {is} stopped"),
    )
    .hint(format_args!(
        "continue it with `kill -CONT {pids}`, with all its resources; then run the same command again"
    ))
}
