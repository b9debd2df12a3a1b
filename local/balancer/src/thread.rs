//! A thread with a single-threaded runtime of its own, moved to a network namespace before it makes
//! its first socket.

use std::future::Future;
use std::io;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Pin;

/// A running thread; see [`PinnedThread::start`].
pub(super) struct PinnedThread {
    handle: Handle,
    thread: thread::JoinHandle<()>,
    done: oneshot::Receiver<()>,
}

impl PinnedThread {
    /// Starts a thread that calls `pin`, and then runs `main` to its end.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made, or what `pin` returned; the thread has ended
    /// then.
    pub(super) async fn start(
        name: &str,
        pin: Pin,
        main: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let (started, start) = oneshot::channel();
        let (finished, done) = oneshot::channel();
        let thread = thread::Builder::new()
            // The kernel keeps 15 characters of it.
            .name(name.chars().take(15).collect())
            .spawn(move || {
                let made = pin().and_then(|()| {
                    // Nothing may run on another thread, which would be in another namespace: this
                    // runtime has one, and blocking work is not used.
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                });
                match made {
                    Err(error) => drop(started.send(Err(error))),
                    Ok(runtime) => {
                        if started.send(Ok(runtime.handle().clone())).is_ok() {
                            runtime.block_on(main);
                        }
                    }
                }
                // Nobody may be waiting for it.
                let _ = finished.send(());
            })?;
        let handle = start
            .await
            .map_err(|_| io::Error::other("the thread ended before it had started"))??;
        Ok(Self {
            handle,
            thread,
            done,
        })
    }

    /// Where tasks for this thread are spawned.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until `main` has ended and the thread with it.
    pub(super) async fn join(self) {
        // An error here is a panic of the thread, which has been printed; it has ended either way.
        let _ = self.done.await;
        let _ = self.thread.join();
    }
}
