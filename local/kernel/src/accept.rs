//! Helpers of accept loops: pauses when the process is out of files, and places for new connections.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use tokio_util::sync::CancellationToken;

use crate::log;

/// The pause of an accept loop when the process is out of files or memory; meanwhile, other connections close.
pub const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Whether the process or the machine is out of files or memory.
pub fn is_exhaustion(error: &io::Error) -> bool {
    let exhaustion = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|errno| exhaustion.contains(&Errno::from_raw(errno)))
}

/// The errors of one accept loop. No error ends such a loop.
#[derive(Debug)]
pub struct AcceptErrors {
    /// The kind of connections, for the log.
    what: String,
    is_exhausted: bool,
}

impl AcceptErrors {
    /// A loop without errors. `what` names the connections in the log.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            is_exhausted: false,
        }
    }

    /// Waits as long as the error requires. The log gets one line for each shortage of files.
    pub async fn failed(&mut self, error: &io::Error) {
        if !is_exhaustion(error) {
            // The error of a connection that is already closed.
            return;
        }
        if !std::mem::replace(&mut self.is_exhausted, true) {
            log(format_args!(
                "{}: no connection can be accepted for now: {error}",
                self.what
            ));
        }
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
    }

    /// Records that a connection was accepted.
    pub fn passed(&mut self) {
        if std::mem::take(&mut self.is_exhausted) {
            log(format_args!(
                "{}: connections are accepted again",
                self.what
            ));
        }
    }
}

/// Connections that have not stated their purpose yet. Their number is limited. A further connection replaces the
/// oldest, so that silent clients block nobody.
#[derive(Debug, Clone)]
pub struct Newcomers {
    most: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

/// The place of one connection; dropping it frees the place.
#[derive(Debug)]
pub struct Newcomer {
    number: u64,
    all: Newcomers,
    displaced: CancellationToken,
}

impl Newcomers {
    /// Places for this many connections.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            waiting: Arc::default(),
        }
    }

    /// The place of a newly accepted connection.
    pub fn enter(&self) -> Newcomer {
        let displaced = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_age.insert(number, displaced.clone());
        if waiting.by_age.len() > self.most
            && let Some((_, oldest)) = waiting.by_age.pop_first()
        {
            oldest.cancel();
        }
        Newcomer {
            number,
            all: self.clone(),
            displaced,
        }
    }
}

impl Newcomer {
    /// Waits until the connection states its purpose. `None`: it took longer than the limit, or another connection
    /// needed its place.
    pub async fn within<T>(&self, limit: Duration, said: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            said = tokio::time::timeout(limit, said) => said.ok(),
            () = self.displaced.cancelled() => None,
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut waiting = self
            .all
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn oldest_newcomer_makes_room() {
        let all = Newcomers::new(2);
        let [first, second, third] = [all.enter(), all.enter(), all.enter()];
        let silent = std::future::pending::<()>;
        assert_eq!(first.within(LONG, silent()).await, None);
        assert_eq!(second.within(LONG, async { 2 }).await, Some(2));
        assert_eq!(third.within(LONG, async { 3 }).await, Some(3));
        drop((first, second));
        let _fourth = all.enter();
        assert_eq!(third.within(LONG, async { 3 }).await, Some(3));
    }

    #[tokio::test]
    async fn silent_newcomer_is_given_up() {
        let newcomer = Newcomers::new(1).enter();
        let short = Duration::from_millis(1);
        assert_eq!(
            newcomer.within(short, std::future::pending::<()>()).await,
            None
        );
    }

    #[tokio::test]
    async fn exhaustion_pauses_and_other_errors_do_not() {
        let mut errors = AcceptErrors::new("test");
        let began = tokio::time::Instant::now();
        errors.failed(&Errno::ECONNABORTED.into()).await;
        assert!(!errors.is_exhausted);
        errors.failed(&Errno::EMFILE.into()).await;
        assert!(began.elapsed() >= EXHAUSTED_PAUSE);
        assert!(errors.is_exhausted);
        errors.passed();
        assert!(!errors.is_exhausted);
    }
}
