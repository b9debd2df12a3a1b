//! Network namespaces that are held open by a descriptor and have no name in any file system.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, open as long as a clone of this value, a thread or a process holds it.
///
/// With its last holder the kernel takes it away, and every link, route and rule in it.
#[derive(Debug, Clone)]
pub struct Namespace(Arc<OwnedFd>);

impl Namespace {
    /// Makes a namespace and runs `setup` inside of it, which may open sockets there.
    ///
    /// # Errors
    ///
    /// When the kernel makes no namespace (the caller needs `CAP_SYS_ADMIN` in its user namespace,
    /// and `user.max_net_namespaces` bounds their number), or when `setup` fails.
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
    /// Sockets opened by the task stay in the namespace wherever they are used later.
    ///
    /// # Errors
    ///
    /// When no thread can be started or it may not enter the namespace.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| {
            self.pin_current_thread()?;
            Ok(task())
        })?
    }

    /// Moves the calling thread into the namespace for the rest of its life.
    ///
    /// Only for threads that nobody else uses, such as the worker threads of a runtime of its own.
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

/// Runs a task on a thread that ends with it, because a thread's namespace must not leak to others.
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
