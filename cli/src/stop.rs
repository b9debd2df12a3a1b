//! Ctrl-C and SIGTERM: the first one stops gracefully, the second one at once.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::exit;

/// The time for a run that is stopped at once to release its lock.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The requests of signals.
pub(crate) struct Stop {
    /// The first signal: stop gracefully.
    pub(crate) gently: CancellationToken,
    /// The second signal: stop at once.
    pub(crate) at_once: CancellationToken,
}

/// Tokens that signals cancel; calls `reported` after the first. A run that still exists a second
/// after its second signal, or gets a third, is ended.
///
/// # Errors
/// When the operating system does not allow waiting for signals.
pub(crate) fn on_signal(reported: impl FnOnce() + Send + 'static) -> io::Result<Stop> {
    let gently = CancellationToken::new();
    let at_once = CancellationToken::new();
    let stop = Stop {
        gently: gently.clone(),
        at_once: at_once.clone(),
    };
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        gently.cancel();
        reported();
        signals.next().await;
        at_once.cancel();
        // Whichever came first.
        let _ = timeout(LAST_CALL, signals.next()).await;
        std::process::exit(exit::INTERRUPTED.into());
    });
    Ok(stop)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
