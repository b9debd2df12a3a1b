//! Network namespaces that descriptors keep open, without a name in any file system.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, open as long as a clone of this value, a thread or a process holds it.
///
/// With its last holder, the kernel deletes it, and every link, route and rule in it.
#[derive(Debug, Clone)]
pub struct Namespace(Arc<OwnedFd>);

impl Namespace {
    /// Creates a namespace and runs `setup` in it, which may open sockets there.
    ///
    /// # Errors
    ///
    /// When the kernel creates no namespace (the caller needs `CAP_SYS_ADMIN` in its user namespace, and
    /// `user.max_net_namespaces` limits their number), or when `setup` fails.
    pub fn create<T: Send>(setup: impl FnOnce() -> io::Result<T> + Send) -> io::Result<(Self, T)> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let descriptor = File::open("/proc/thread-self/ns/net")?;
            let value = setup()?;
            Ok((Self(Arc::new(descriptor.into())), value))
        })?
    }

    /// Runs `task` on a short-lived thread inside the namespace.
    ///
    /// Sockets that the task opens stay in the namespace.
    ///
    /// # Errors
    ///
    /// When the thread cannot start or may not enter the namespace.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            self.pin_current_thread()?;
            Ok(task())
        })?
    }

    /// Moves the calling thread into the namespace permanently.
    ///
    /// Only for threads without other users, such as the worker threads of a dedicated runtime.
    ///
    /// # Errors
    ///
    /// When the thread may not enter the namespace.
    pub fn pin_current_thread(&self) -> io::Result<()> {
        Ok(setns(&*self.0, CloneFlags::CLONE_NEWNET)?)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs a task on a new thread, because a thread's namespace must not leak to other tasks.
fn on_a_thread<T: Send>(task: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, task)?;
        match thread.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
