//! How a process leaves the session of the program that started it.
#![expect(unsafe_code, reason = "a background process is made by fork(2)")]

use std::io;

use nix::unistd::{ForkResult, fork, setsid};

/// Which of the two processes this is, after [`detach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detached {
    /// The one that was there before. It has to end now.
    Parent,
    /// The new one, which goes on in the background.
    Child,
}

/// Begins a session of its own and goes on as a child of init.
///
/// The child leads no session, so no terminal can become its own, and it leaves no zombie in a starting program that
/// lives on.
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
