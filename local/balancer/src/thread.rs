//! A thread with its own single-threaded runtime, which enters a network namespace before it creates its first
//! socket.

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
    /// When the thread or its runtime cannot be created, or the error of `pin`. The thread has ended then.
    pub(super) async fn start(
        name: &str,
        pin: Pin,
        main: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let (started, start) = oneshot::channel();
        let (finished, done) = oneshot::channel();
        let thread = thread::Builder::new()
            // The kernel keeps 15 characters of the name.
            .name(name.chars().take(15).collect())
            .spawn(move || {
                let made = pin().and_then(|()| {
                    // All work stays on this thread, because another thread would be in another namespace: the
                    // runtime has one thread, and nothing uses blocking tasks.
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
                // The caller may have stopped waiting.
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

    /// The handle that spawns tasks on this thread.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until `main` and the thread have ended.
    pub(super) async fn join(self) {
        // An error is a panic of the thread, which has been printed; the thread has ended in both cases.
        let _ = self.done.await;
        let _ = self.thread.join();
    }
}
