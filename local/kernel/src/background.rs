//! The move of a process to the background, out of the session of the program that started it.
#![expect(unsafe_code, reason = "a background process is made by fork(2)")]

use std::io;

use nix::unistd::{ForkResult, fork, setsid};

/// The two processes after [`detach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detached {
    /// The original process. It must end now.
    Parent,
    /// The new process, which continues in the background.
    Child,
}

/// Starts a new session and continues as a child of init.
///
/// The child is not a session leader, so it never gets a controlling terminal. It leaves no zombie in a program that
/// started it and continues.
///
/// # Errors
///
/// When this process has more than one thread, or the kernel refuses.
pub fn detach() -> io::Result<Detached> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("this process has more than one thread"));
    }
    setsid()?;
    // SAFETY: this process has one thread, so its copy is whole.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(Detached::Parent),
        ForkResult::Child => Ok(Detached::Child),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_with_threads_is_not_forked() {
        let (alive, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        assert!(detach().is_err());
        drop(alive);
        let _ = other.join();
    }
}
