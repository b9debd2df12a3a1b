//! Starts an instance's first process and creates its folder.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::process::Child;
use tokio::sync::oneshot;

use super::Error;
use super::limits::{Confined, unmount_disk};
use super::spec::Spec;
use crate::ROLE_INSTANCE;
use crate::init::Order;
use crate::init::program::Program;
use landfall_kernel::ROLE_VAR;
use landfall_kernel::fds;
use landfall_kernel::log;

/// The limit on the time to build the sandbox. It takes milliseconds, unless files have to be copied.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Executes the copy of this program as process 1 of a new pid namespace, and sends it its order.
///
/// The limits apply before that process does anything.
pub(super) async fn spawn(
    order: Order,
    netns: OwnedFd,
    mut confined: Confined,
) -> io::Result<(Child, UnixStream, Confined)> {
    let runtime = tokio::runtime::Handle::current();
    let (done, result) = oneshot::channel();
    // A separate thread: the pid namespace of children is a property of the thread that creates them, and a thread
    // can leave its own only once.
    std::thread::Builder::new()
        .name("instance-spawn".to_owned())
        .spawn(move || {
            let _context = runtime.enter();
            let spawned = (|| {
                unshare(CloneFlags::CLONE_NEWPID)?;
                let (mut ours, theirs) = UnixStream::pair()?;
                ours.set_write_timeout(Some(START_TIMEOUT))?;
                let program = Program::mount()?;
                let mut command = std::process::Command::new(program.path());
                command
                    .arg0("landfall-instance")
                    .env_clear()
                    .env(ROLE_VAR, ROLE_INSTANCE)
                    .current_dir("/")
                    .stdin(OwnedFd::from(theirs))
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                let child = tokio::process::Command::from(command)
                    .kill_on_drop(true)
                    .spawn()?;
                if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    confined.add_process(pid);
                }
                fds::send(ours.as_fd(), b"\n", &[netns.as_fd(), program.as_fd()])?;
                let mut line = serde_json::to_vec(&order)?;
                line.push(b'\n');
                ours.write_all(&line)?;
                Ok((child, ours, confined))
            })();
            // If the caller was dropped meanwhile, the child is dropped too, which kills it.
            drop(done.send(spawned));
        })?;
    result
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
}

/// The instance's own folder; dropping it removes the folder.
#[derive(Debug)]
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    /// Creates the folder, with the instance's id as its name.
    pub(super) fn create(spec: &Spec, confined: &Confined) -> Result<Self, Error> {
        let path = spec.scratch.join(&spec.id);
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                // Dropping this value removes the folder in any case.
                let scratch = Self(path);
                confined
                    .mount_disk(&scratch.0)
                    .map_err(|error| Error::Process {
                        id: spec.id.clone(),
                        doing: format!("mount its file system on {}", scratch.0.display()),
                        source: error.into(),
                    })?;
                Ok(scratch)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists {
                id: spec.id.clone(),
                path,
            }),
            Err(source) => Err(Error::Process {
                id: spec.id.clone(),
                doing: format!("create {}", path.display()),
                source,
            }),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder without a mount has nothing to unmount.
        let _ = unmount_disk(&self.0);
        if let Err(error) = remove(&self.0) {
            log(format_args!("remove {}: {error}", self.0.display()));
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
