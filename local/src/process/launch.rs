//! The caller's side: finds the background process, or starts it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};

use super::outer::{ERROR, HELLO, READY};
use super::pids::Pids;
use super::runtime_dir::{RuntimeDir, lock};
use super::{Arguments, Error, HOOKED, ROLE_OUTER};
use landfall_kernel::{ROLE_VAR, SELF};

/// The time limit for an executed program to report that it is the cloud.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// The margin beyond the background process's own deadline, so that its error arrives.
const MARGIN: Duration = Duration::from_secs(5);

/// A running cloud.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cloud {
    /// Its control socket.
    pub socket: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// The pid of its outer process, which ends the cloud in order on SIGTERM. `None` while that process
    /// is writing it.
    pub pid: Option<i32>,
    /// Whether this call started it.
    pub started: bool,
}

/// The settings of a start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The runtime directory: at most one cloud per directory.
    pub dir: PathBuf,
    /// The program to execute. Default: this program. It has to call [`hook`](super::hook).
    pub program: Option<PathBuf>,
    /// The maximum size of the cloud's own files, in bytes. Instances have file systems of their own.
    pub scratch_bytes: u64,
    /// The time limit of the start.
    pub ready_within: Duration,
}

impl Launch {
    /// This program's cloud in `dir`: 16 MiB for folders, 20 seconds to start.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            program: None,
            scratch_bytes: 16 << 20,
            ready_within: Duration::from_secs(20),
        }
    }

    /// Returns the running cloud of this directory, or starts one. Of several callers at once, one
    /// starts it and the others wait for it. Blocks.
    ///
    /// # Errors
    ///
    /// The reason why the cloud did not start, and a hint. Nothing is left running, except
    /// after [`Error::Timeout`], where this is unknown.
    pub fn connect_or_start(&self) -> Result<Cloud, Error> {
        let dir = RuntimeDir::new(self.dir.clone())?;
        if let Some(cloud) = find(&dir)? {
            return Ok(cloud);
        }
        let program = self.program()?;
        dir.create()?;
        // A start takes at most this long: a longer wait has another cause.
        let time_limit = self.ready_within + HELLO_WITHIN + MARGIN;
        let _starting = lock_dir(&dir, time_limit)?;
        if let Some(cloud) = find(&dir)? {
            return Ok(cloud);
        }
        if let Err(error) = self.start(&dir, program) {
            // The starting program may have been killed after its cloud became ready.
            return find(&dir)?.ok_or(error);
        }
        let mut cloud = find(&dir)?.ok_or_else(|| {
            Error::Failed(format!(
                "it was ready, and then ended; see {}",
                dir.log().display()
            ))
        })?;
        cloud.started = true;
        Ok(cloud)
    }

    fn program(&self) -> Result<&Path, Error> {
        if let Some(role) = std::env::var_os(ROLE_VAR) {
            return Err(Error::Nested {
                role: role.to_string_lossy().into_owned(),
            });
        }
        match &self.program {
            Some(program) => Ok(program),
            None if HOOKED.load(Ordering::Relaxed) => Ok(Path::new(SELF)),
            None => Err(Error::NotHooked {
                program: "this program".to_owned(),
            }),
        }
    }

    fn start(&self, dir: &RuntimeDir, program: &Path) -> Result<(), Error> {
        let log = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(dir.log())
            .map_err(Error::io(format!("open {}", dir.log().display())))?;
        let arguments = Arguments {
            dir: dir.path().to_owned(),
            scratch_bytes: self.scratch_bytes,
            ready_within: self.ready_within,
        };
        let mut child = arguments
            .command(program, ROLE_OUTER)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(Error::io(format!("execute {}", program.display())))?;
        let result = follow(&mut child, program, self.ready_within);
        // The child itself ends at once: the background process is its child. A program that has not
        // reported that it is the cloud must not be left running.
        if result.is_err() {
            let _ = child.kill();
        }
        let _ = child.wait();
        result
    }
}

/// The running cloud of `dir`, if any. Removes the files of a killed one.
///
/// # Errors
///
/// `dir` belongs to somebody else, or cannot be read.
pub fn running(dir: &Path) -> Result<Option<Cloud>, Error> {
    let dir = RuntimeDir::new(dir.to_owned())?;
    if let Some(cloud) = find(&dir)? {
        return Ok(Some(cloud));
    }
    // Without a socket there is no cloud: this check creates no directory.
    if dir.socket().symlink_metadata().is_ok() {
        let _starting = lock_dir(&dir, Duration::from_secs(30))?;
        if let Some(cloud) = find(&dir)? {
            return Ok(Some(cloud));
        }
        // Processes that still hold the lock are starting or ending.
        let held =
            File::open(dir.lock()).is_ok_and(|file| !lock(&file, Duration::ZERO).unwrap_or(false));
        if !held {
            dir.clear();
        }
    }
    Ok(None)
}

/// Removes the files of an ended cloud in `dir`, including its log; nothing while one runs. `false` while a
/// process of an ended cloud still uses the directory: the socket is removed first, the process exits a moment later.
///
/// # Errors
///
/// `dir` belongs to somebody else, or cannot be read.
pub fn clear(dir: &Path) -> Result<bool, Error> {
    let dir = RuntimeDir::new(dir.to_owned())?;
    if !dir.path().exists() {
        return Ok(true);
    }
    let _starting = lock_dir(&dir, Duration::from_secs(30))?;
    let free = match File::open(dir.lock()) {
        Ok(file) => lock(&file, Duration::ZERO).unwrap_or(false),
        Err(_) => true,
    };
    if find(&dir)?.is_some() {
        return Ok(true);
    }
    if free {
        dir.clear();
        for file in [dir.log(), dir.lock()] {
            // The directory does not exist.
            let _ = std::fs::remove_file(file);
        }
    }
    Ok(free)
}

/// The cloud that currently accepts connections in `dir`.
fn find(dir: &RuntimeDir) -> Result<Option<Cloud>, Error> {
    let socket = dir.socket();
    match connect(&socket) {
        Ok(()) => {
            dir.check()?;
            Ok(Some(Cloud {
                pid: Pids::read(&dir.lock()).outer(),
                log: dir.log(),
                socket,
                started: false,
            }))
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(Error::Io {
            doing: format!("connect to the local cloud at {}", socket.display()),
            source,
        }),
    }
}

/// Whether a process listens on a socket. A full queue of waiting connections counts as listening.
fn connect(path: &Path) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The known processes of the cloud in `dir`.
pub(crate) fn pids(dir: &Path) -> Option<Pids> {
    let dir = RuntimeDir::new(dir.to_owned()).ok()?;
    Some(Pids::read(&dir.lock()))
}

/// Locks the directory against other starts.
fn lock_dir(dir: &RuntimeDir, within: Duration) -> Result<File, Error> {
    let doing = || Error::io(format!("lock {}", dir.path().display()));
    let file = File::open(dir.path()).map_err(doing())?;
    if lock(&file, within).map_err(doing())? {
        Ok(file)
    } else {
        Err(Error::Timeout {
            waiting: "another process has not finished starting it".to_owned(),
            after: within,
        })
    }
}

/// Reads the reports of the new process until it is ready: see `outer::Status`.
fn follow(child: &mut Child, program: &Path, ready_within: Duration) -> Result<(), Error> {
    let mut pipe = child.stdout.take().expect("its standard output is a pipe");
    let not_hooked = || Error::NotHooked {
        program: program.display().to_string(),
    };
    let mut said = String::new();
    let mut hello = false;
    let mut within = HELLO_WITHIN;
    let mut deadline = Instant::now() + within;
    loop {
        if !hello && said.starts_with(HELLO) {
            hello = true;
            within = ready_within + MARGIN;
            deadline = Instant::now() + within;
        }
        if said
            .strip_prefix(HELLO)
            .is_some_and(|rest| rest.starts_with(READY))
        {
            return Ok(());
        }
        if !hello && !HELLO.starts_with(&said) {
            return Err(not_hooked());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let mut files = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        let wait =
            PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut files, wait) {
            Ok(0) if hello => {
                return Err(Error::Timeout {
                    waiting: "it does not serve".to_owned(),
                    after: within,
                });
            }
            Ok(0) => return Err(not_hooked()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::io("wait for the local cloud")(error.into())),
        }
        let mut buffer = [0; 4096];
        match pipe.read(&mut buffer) {
            Ok(0) if !hello => return Err(not_hooked()),
            Ok(0) => {
                let rest = said.trim_start_matches(HELLO).trim();
                let reason = rest
                    .strip_prefix(ERROR)
                    .unwrap_or("it ended without a reason");
                return Err(Error::Failed(reason.to_owned()));
            }
            Ok(length) => said.push_str(&String::from_utf8_lossy(&buffer[..length])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("listen to the local cloud")(error)),
        }
    }
}
