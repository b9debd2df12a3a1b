//! The runtime directory of the background process: its path, its owner, its files.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::Error;

/// The control socket; it exists while the cloud serves, or after it was killed.
const SOCKET: &str = "cloud.sock";
/// The control socket before the cloud serves.
const NEW_SOCKET: &str = "cloud.new";
/// The lock file: locked while a process of the cloud exists; contains the pids.
const LOCK: &str = "cloud.lock";
/// The log of the background process and its instances' first processes.
const LOG: &str = "cloud.log";
/// An empty directory; in the cloud's mount namespace, its private memory file system.
const SCRATCH: &str = "scratch";

/// The maximum length of a Unix socket's path: `sun_path` has 108 bytes, including the final zero.
const MAX_SOCKET_PATH: usize = 107;

/// The interval of attempts to take a lock.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// The runtime directory of this user: `LANDFALL_RUNTIME_DIR` if set; else `/run/landfall` for root,
/// `$XDG_RUNTIME_DIR/landfall` or `/tmp/landfall-<uid>` for an ordinary user.
///
/// # Errors
///
/// The current directory is unknown, and `LANDFALL_RUNTIME_DIR` is relative.
pub fn default_dir() -> Result<PathBuf, Error> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set("LANDFALL_RUNTIME_DIR") {
        return std::path::absolute(&dir)
            .map_err(Error::io(format!("resolve LANDFALL_RUNTIME_DIR={dir:?}")));
    }
    let user = geteuid();
    if user.is_root() {
        return Ok(PathBuf::from("/run/landfall"));
    }
    Ok(match set("XDG_RUNTIME_DIR").map(PathBuf::from) {
        // Some logins keep the variable of another user (su), or of an ended session.
        Some(dir) if dir.metadata().is_ok_and(|it| it.uid() == user.as_raw()) => {
            dir.join("landfall")
        }
        _ => PathBuf::from(format!("/tmp/landfall-{user}")),
    })
}

/// A runtime directory that only this user can write to.
#[derive(Clone, Debug)]
pub(super) struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// Refers to the directory without access to it.
    pub(super) fn new(dir: PathBuf) -> Result<Self, Error> {
        let it = Self(dir);
        let length = it.socket().as_os_str().len();
        if length > MAX_SOCKET_PATH {
            return Err(it.refuse(format!(
                "the socket's path would have {length} bytes, the kernel takes {MAX_SOCKET_PATH}; \
                 set LANDFALL_RUNTIME_DIR to a shorter path"
            )));
        }
        Ok(it)
    }

    /// Creates the directory if it is missing, and checks that no other user can write to it.
    pub(super) fn create(&self) -> Result<(), Error> {
        let dir = self.path();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(Error::io(format!("create {}", dir.display())))?;
        self.check()
    }

    /// Checks that the directory belongs to this user and that no other user can write to it: a user
    /// that can could answer in place of the cloud.
    pub(super) fn check(&self) -> Result<(), Error> {
        let dir = self.path();
        let it = std::fs::symlink_metadata(dir)
            .map_err(Error::io(format!("look at {}", dir.display())))?;
        let user = geteuid().as_raw();
        if !it.is_dir() {
            Err(self.refuse("it is not a directory".to_owned()))
        } else if it.uid() != user {
            Err(self.refuse(format!(
                "it belongs to user {}, not to user {user}; set LANDFALL_RUNTIME_DIR to another",
                it.uid()
            )))
        } else if it.mode() & 0o022 != 0 {
            Err(self.refuse(format!(
                "others can write to it; run: chmod 700 {}",
                dir.display()
            )))
        } else {
            Ok(())
        }
    }

    fn refuse(&self, problem: String) -> Error {
        Error::Directory {
            dir: self.0.clone(),
            problem,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    pub(super) fn new_socket(&self) -> PathBuf {
        self.0.join(NEW_SOCKET)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.0.join(LOCK)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.0.join(SCRATCH)
    }

    /// Removes the files of a cloud, except its log. The caller has to know that no
    /// cloud is alive.
    pub(super) fn clear(&self) {
        // Each may be missing. A file that cannot be removed is harmless: the next start replaces it.
        let _ = std::fs::remove_file(self.socket());
        let _ = std::fs::remove_file(self.new_socket());
        let _ = std::fs::remove_dir(self.scratch());
    }
}

/// Locks `file` for this process, and waits at most `within`. `false` if another process still holds it.
pub(super) fn lock(file: &File, within: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + within;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(false),
            // flock(2) cannot wait with a deadline.
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_is_refused() {
        let error = RuntimeDir::new(PathBuf::from(format!("/{}", "d".repeat(100)))).unwrap_err();
        assert!(
            error.to_string().contains("LANDFALL_RUNTIME_DIR"),
            "{error}"
        );
        assert!(RuntimeDir::new(PathBuf::from(format!("/{}", "d".repeat(90)))).is_ok());
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let dir = RuntimeDir::new(base.path().join("cloud")).unwrap();
        dir.create().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(dir.create().unwrap_err().to_string().contains("chmod 700"));
        let link = RuntimeDir::new(base.path().join("link")).unwrap();
        std::os::unix::fs::symlink(base.path(), link.path()).unwrap();
        assert!(
            link.check()
                .unwrap_err()
                .to_string()
                .contains("not a directory")
        );
    }
}
