//! Detects that the cloud has ended or is stopped, during every wait for it.
//!
//! The kernel closes the connections of a cloud that ends for any reason. A cloud whose processes are stopped (SIGSTOP)
//! keeps them open and sends nothing, so every wait also observes its processes: both during a wait for an answer, for
//! which the inner process may need the outer one, and only the inner one for a stream or a lock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use landfall_provider::{Error, ErrorKind, Left, LockLoss, Result};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::{Connection, Local};
use crate::process::{self, Pids};

/// The time that the cloud may be stopped before a wait for it fails.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);

/// The interval of observations during a wait.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The observed processes.
#[derive(Clone, Copy)]
enum Watched {
    Both,
    Inner,
}

impl Local {
    /// Waits for an answer of the cloud; fails if one of its processes stays stopped.
    ///
    /// # Errors
    /// Names the stopped processes and the command that continues them.
    pub(super) async fn unless_stopped<T>(&self, answer: impl Future<Output = T>) -> Result<T> {
        self.watching(Watched::Both, answer).await
    }

    /// Waits for the next part of a stream; fails if the sending process stays stopped.
    ///
    /// # Errors
    /// Names the stopped process and the command that continues it.
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

    /// Returns the observed processes that stay stopped.
    async fn stopped(&self, watched: Watched) -> Pids {
        // One call has already waited; the next ones fail at once.
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

    /// Whether a process of the cloud is currently stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped_now(Watched::Both).is_some()
    }

    /// Returns the reason when the lock of this connection is lost.
    pub(super) async fn lock_lost(self, mut connection: Connection) -> LockLoss {
        let mut rest = [0];
        // The cloud sends nothing more: the read ends with the connection.
        match self.unless_silent(connection.read(&mut rest)).await {
            Ok(_) => LockLoss::Ended(self.lost()),
            Err(stopped) => LockLoss::Silent(stopped),
        }
    }

    /// Whether a cloud accepts connections.
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

/// The inner process has ended, and with it all resources; the outer one is stopped and has not removed its files.
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
