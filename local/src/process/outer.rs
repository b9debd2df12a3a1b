//! The outer process: opens ports in the machine's network for the inner one, and removes the files at its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use landfall_kernel::background::{Detached, detach};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, dup2_stdout};

use super::pids::{self, Pids};
use super::runtime_dir::{RuntimeDir, lock};
use super::{Arguments, ROLE_INNER};
use landfall_kernel::cgroup::Groups;
use landfall_kernel::{SELF, fds, oom, userns};
use tracing::{error, info};

/// The maximum size of a message between the two processes, in bytes.
pub(super) const MAX_MESSAGE: usize = 4096;

/// The first report to the starting program: this is the cloud, not a program without a hook.
pub(super) const HELLO: &str = "hello\n";
/// The report that the cloud serves.
pub(super) const READY: &str = "ready\n";
/// The report of a failure; the reason follows.
pub(super) const ERROR: &str = "error ";

/// The time limit for the inner process to end in order.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The time limit for the processes of an earlier cloud to exit.
const LOCK_WITHIN: Duration = Duration::from_secs(15);
/// The part of the log that an error quotes, in bytes.
const LOG_TAIL: u64 = 2048;

/// The main function of the outer process; returns when the cloud has ended.
pub(super) fn run() -> ExitCode {
    let status = match Status::begin() {
        Ok(Some(status)) => status,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            error!("become a background process: {error}");
            return ExitCode::FAILURE;
        }
    };
    match Arguments::read().and_then(|arguments| Cloud::start(&arguments, status)) {
        Ok(cloud) => cloud.watch(),
        Err(reason) => {
            error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// The reports to the starting program, through a pipe that is this process's standard output:
/// [`HELLO`], then either [`READY`], or [`ERROR`] and a text to the end.
struct Status(Option<File>);

impl Status {
    /// Leaves the starting program's session and sends [`HELLO`]. `None` in the process that has to end.
    fn begin() -> io::Result<Option<Self>> {
        fds::close_inherited()?;
        if detach()? == Detached::Parent {
            return Ok(None);
        }
        // A name for people who read the list of processes.
        let _ = nix::sys::prctl::set_name(pids::NAME);
        umask(Mode::from_bits_truncate(0o077));
        let mut pipe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?)?;
        pipe.write_all(HELLO.as_bytes())?;
        Ok(Some(Self(Some(pipe))))
    }

    /// Reports the result of the start, once. The starting program may have ended; the cloud continues.
    fn end(&mut self, text: &str) {
        if let Some(mut pipe) = self.0.take() {
            let _ = pipe.write_all(text.as_bytes());
        }
    }

    fn fail(&mut self, reason: &str) {
        self.end(&format!("{ERROR}{reason}"));
    }

    fn pending(&self) -> bool {
        self.0.is_some()
    }
}

/// The outer side of a running cloud.
struct Cloud {
    dir: RuntimeDir,
    status: Status,
    inner: Child,
    /// The socket to the inner process, until it closes it.
    requests: Option<OwnedFd>,
    signals: SignalFd,
    /// The time at which the inner process is killed unless it is ready, or has ended.
    deadline: Option<Instant>,
    ready_within: Duration,
    /// The lock file: locked while this process or the inner one exists.
    _lock: File,
}

impl Cloud {
    fn start(arguments: &Arguments, mut status: Status) -> Result<Self, String> {
        let started = Self::try_start(arguments);
        match started {
            Ok((dir, inner, requests, signals, lock)) => Ok(Self {
                dir,
                status,
                inner,
                requests: Some(requests),
                signals,
                deadline: Some(Instant::now() + arguments.ready_within),
                ready_within: arguments.ready_within,
                _lock: lock,
            }),
            Err(reason) => {
                status.fail(&reason);
                Err(reason)
            }
        }
    }

    fn try_start(
        arguments: &Arguments,
    ) -> Result<(RuntimeDir, Child, OwnedFd, SignalFd, File), String> {
        let dir = RuntimeDir::new(arguments.dir.clone()).map_err(|error| error.to_string())?;
        let lock = take_lock(&dir)?;
        dir.clear();
        let socket = dir.new_socket();
        let listener = UnixListener::bind(&socket)
            .map_err(|error| format!("bind {}: {error}", socket.display()))?;
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(dir.scratch())
            .map_err(|error| format!("create {}: {error}", dir.scratch().display()))?;
        let signals = block_signals().map_err(|error| format!("block signals: {error}"))?;
        let (ours, theirs) =
            fds::message_pair().map_err(|error| format!("create a pair of sockets: {error}"))?;

        if userns::needed() {
            userns::enter()?;
        }
        oom::protect();
        // Only children enter a new pid namespace; the first one is its process 1.
        unshare(CloneFlags::CLONE_NEWPID)
            .map_err(|error| userns::explain("create a pid namespace", error))?;
        let inner = arguments
            .command(Path::new(SELF), ROLE_INNER)
            .stdin(theirs)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("execute the inner process: {error}"))?;
        Pids::write(&lock, Some(inner.id()))
            .map_err(|error| format!("write {}: {error}", dir.lock().display()))?;
        // This message proves to the inner process that its parent is alive, see `inner`.
        fds::send(ours.as_fd(), b"start", &[listener.as_fd(), lock.as_fd()])
            .map_err(|error| format!("hand the socket to the inner process: {error}"))?;
        Ok((dir, inner, ours, signals, lock))
    }

    /// Serves the inner process until it ends, then removes the files in the directory.
    fn watch(mut self) -> ExitCode {
        let ended = loop {
            if let Err(error) = self.turn() {
                error!("outer process: {error}");
                // Without the loop, the inner process must not continue.
                let _ = self.inner.kill();
                break self.inner.wait();
            }
            match self.inner.try_wait() {
                Ok(None) => {}
                Ok(Some(ended)) => break Ok(ended),
                Err(error) => break Err(error),
            }
        };
        self.dir.clear();
        // All processes of the cloud have ended with the inner one, so their cgroups are empty.
        Groups::new(self.dir.path()).remove();
        let how = match ended {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if self.status.pending() {
            let said = tail(&self.dir.log());
            self.status
                .fail(&format!("it ended ({how}) before it was ready{said}"));
        }
        info!("the cloud has ended: {how}");
        ExitCode::SUCCESS
    }

    /// Waits for the next signal, request or deadline, and handles it.
    fn turn(&mut self) -> io::Result<()> {
        let mut files = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        files.extend(
            self.requests
                .as_ref()
                .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)),
        );
        let wait = self.deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut files, wait) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let asked = files.get(1).and_then(PollFd::any).unwrap_or(false);
        while let Some(signal) = self.signals.read_signal()? {
            // SIGCHLD only wakes: the caller checks the child each time.
            if matches!(
                i32::try_from(signal.ssi_signo).map(Signal::try_from),
                Ok(Ok(Signal::SIGTERM | Signal::SIGINT))
            ) {
                self.stop()?;
            }
        }
        if asked {
            self.answer()?;
        }
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            self.deadline = None;
            self.status.fail(&format!(
                "it was not ready within {:?}{}",
                self.ready_within,
                tail(&self.dir.log())
            ));
            self.inner.kill()?;
        }
        Ok(())
    }

    /// Sends SIGTERM to the inner process, and sets a deadline.
    fn stop(&mut self) -> io::Result<()> {
        let pid = i32::try_from(self.inner.id()).map_err(io::Error::other)?;
        // The process is not reaped yet, so the pid is still valid.
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        self.deadline = Some(Instant::now() + STOP_WITHIN);
        Ok(())
    }

    /// Answers one request of the inner process.
    fn answer(&mut self) -> io::Result<()> {
        let Some(socket) = &self.requests else {
            return Ok(());
        };
        let mut buffer = [0; MAX_MESSAGE];
        let (length, _) = fds::receive(socket.as_fd(), &mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match verb {
            "" => self.requests = None,
            "ready" => {
                let done = std::fs::rename(self.dir.new_socket(), self.dir.socket());
                if done.is_ok() {
                    self.deadline = None;
                    self.status.end(READY);
                }
                reply(socket.as_fd(), done.map(|()| None))?;
            }
            "failed" => {
                self.status.fail(rest);
                reply(socket.as_fd(), Ok(None))?;
            }
            "bind" => reply(socket.as_fd(), bind(rest).map(Some))?,
            other => {
                error!("outer process: unknown request {other:?}");
                reply(socket.as_fd(), Err(Errno::ENOSYS.into()))?;
            }
        }
        Ok(())
    }
}

/// Sends `ok` with the file, or the number of the error.
fn reply(socket: BorrowedFd<'_>, result: io::Result<Option<TcpListener>>) -> io::Result<()> {
    let sent = match result {
        Ok(Some(listener)) => fds::send(socket, b"ok", &[listener.as_fd()]),
        Ok(None) => fds::send(socket, b"ok", &[]),
        Err(error) => {
            let code = error.raw_os_error().unwrap_or(Errno::EINVAL as i32);
            fds::send(socket, format!("errno {code}").as_bytes(), &[])
        }
    };
    match sent {
        // The inner process is ending; SIGCHLD reports its exit.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Listens on a loopback address of the machine; other addresses are refused.
fn bind(address: &str) -> io::Result<TcpListener> {
    let address: SocketAddr = address.parse().map_err(|_| Errno::EINVAL)?;
    if !address.ip().is_loopback() {
        return Err(Errno::EACCES.into());
    }
    TcpListener::bind(address)
}

/// Takes the lock of the cloud's processes, and writes this process's pid into the file.
fn take_lock(dir: &RuntimeDir) -> Result<File, String> {
    let path = dir.lock();
    let doing = |error: io::Error| format!("lock {}: {error}", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(doing)?;
    if !lock(&file, LOCK_WITHIN).map_err(doing)? {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        return Err(format!(
            "an earlier cloud (process {}) still holds {} after {} s; end that process",
            pid.lines().next().unwrap_or("unknown"),
            path.display(),
            LOCK_WITHIN.as_secs()
        ));
    }
    Pids::write(&file, None).map_err(doing)?;
    Ok(file)
}

/// Receives signals through a file descriptor, so that one loop waits for all events.
fn block_signals() -> io::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGCHLD,
        Signal::SIGHUP,
    ] {
        mask.add(signal);
    }
    mask.thread_block()?;
    Ok(SignalFd::with_flags(
        &mask,
        SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
    )?)
}

/// The end of the log, for the end of a sentence.
fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    match read() {
        Ok(text) if !text.is_empty() => format!("; its log {} ends with:\n{text}", path.display()),
        _ => String::new(),
    }
}
