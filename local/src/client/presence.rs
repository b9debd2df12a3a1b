//! Notices that the cloud has ended or is stopped, for everybody who waits for it.
//!
//! The kernel closes the connections of a cloud that ends, however it ends. One whose processes are stopped (SIGSTOP)
//! keeps them open and says nothing, so whoever waits for it looks at its processes too.

use std::sync::atomic::Ordering;
use std::time::Duration;

use landfall_provider::{Error, ErrorKind, LockLoss, Result};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::{Connection, Local};
use crate::sys::process::{self, Pids};

/// How long a cloud may be stopped before those who wait for it give up.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);

/// How often its processes are looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Local {
    /// Awaits something from the cloud, unless its processes have been stopped for a while.
    ///
    /// # Errors
    /// Which processes are stopped, and what lets them go on.
    pub(super) async fn unless_stopped<T>(&self, answer: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            pids = self.stopped() => Err(stopped(&pids)),
        }
    }

    /// Returns with the cloud's processes that have been stopped for a while.
    async fn stopped(&self) -> Pids {
        // One call has waited already: the next ones need not wait again.
        if let Some(pids) = self.known_to_be_stopped() {
            return pids;
        }
        let mut since: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(pids) = process::stopped(&self.0.dir) else {
                since = None;
                continue;
            };
            if since.get_or_insert_with(Instant::now).elapsed() >= STOPPED_WITHIN {
                self.0.stopped.store(true, Ordering::Relaxed);
                return pids;
            }
        }
    }

    fn known_to_be_stopped(&self) -> Option<Pids> {
        if !self.0.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let pids = process::stopped(&self.0.dir);
        self.0.stopped.store(pids.is_some(), Ordering::Relaxed);
        pids
    }

    /// Returns when a lock that this connection holds is lost, and why.
    pub(super) async fn lock_lost(self, mut connection: Connection) -> LockLoss {
        let mut rest = [0];
        // The cloud says nothing more: this ends when the connection does.
        match self.unless_stopped(connection.read(&mut rest)).await {
            Ok(_) => LockLoss::Ended(self.lost()),
            Err(stopped) => LockLoss::Silent(stopped),
        }
    }

    /// Whether there is a cloud that listens.
    pub(super) async fn listens(&self) -> bool {
        matches!(self.connect().await, Ok(Some(_)))
    }
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
        "`kill -CONT {pids}` continues it with everything that it holds; then run the same command again"
    ))
}
