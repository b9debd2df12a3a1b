//! Gives the instance its own session keyring, because it could read the machine's keys otherwise.

use nix::errno::Errno;
use nix::libc::{SYS_keyctl, c_long, syscall};

/// Of linux/keyctl.h.
const JOIN_SESSION_KEYRING: c_long = 1;

/// Gives this process a new session keyring without a name, which no other process can join.
pub(super) fn renew() -> nix::Result<()> {
    // SAFETY: with no name the kernel reads no memory of this process.
    let result = unsafe { syscall(SYS_keyctl, JOIN_SESSION_KEYRING, 0 as c_long) };
    match Errno::result(result) {
        // The kernel has no keyrings, or a container around this cloud forbids them.
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The serial number of this thread's session keyring.
    fn session() -> nix::Result<c_long> {
        const GET_KEYRING_ID: c_long = 0;
        const SESSION: c_long = -3;
        // SAFETY: the kernel reads no memory of this process.
        Errno::result(unsafe { syscall(SYS_keyctl, GET_KEYRING_ID, SESSION, 0 as c_long) })
    }

    #[test]
    fn keyring_is_new() {
        let before = session();
        renew().unwrap();
        match (before, session()) {
            (Ok(before), Ok(after)) => assert_ne!(before, after),
            // A container around this test forbids keyrings.
            (Err(Errno::ENOSYS | Errno::EPERM), Err(Errno::ENOSYS | Errno::EPERM)) => {}
            other => panic!("{other:?}"),
        }
    }
}
