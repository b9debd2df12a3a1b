//! Ctrl-C and SIGTERM: once to come to an end, twice to end at once.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::exit;

/// For how long a run that is to end at once may still try to release its lock.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What signals ask for.
pub(crate) struct Stop {
    /// The first one: come to an end.
    pub(crate) gently: CancellationToken,
    /// The second one: end.
    pub(crate) at_once: CancellationToken,
}

/// Tokens that signals cancel; `told` is called after the first. A run that is still there a second after its second
/// signal, or gets a third, is ended.
///
/// # Errors
/// When the operating system does not let the program wait for signals.
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
        // Whichever it was that came first.
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
