//! An instance from the cloud's side: start, watch, stop.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::PidfdFlags;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Error;
use super::disposition;
use super::limits::{Confined, Guard};
use super::output::{Output, Stream};
use super::spawn::{START_TIMEOUT, Scratch, spawn};
use super::spec::Spec;
use crate::init::{Order, Report};
use landfall_kernel::log;
use landfall_kernel::signal;

/// How long the last output of an ended instance is awaited.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);

/// The end of an instance's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// The command ended with this exit code.
    Code(i32),
    /// A signal with this number ended the command.
    Signal(i32),
}

impl Exit {
    fn new(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(Signal::SIGKILL as i32)),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// A started instance. Dropping it kills the instance.
#[derive(Debug)]
pub struct Running {
    id: String,
    pid: i32,
    notes: Vec<String>,
    stop_signal: i32,
    signals: mpsc::UnboundedSender<i32>,
    exit: watch::Receiver<Option<Exit>>,
    /// How it ended, in words; set together with `exit`.
    how: Arc<OnceLock<String>>,
    output: Arc<Output>,
    confined: Confined,
    /// Its first process; it stays valid when the kernel reuses the number.
    pidfd: OwnedFd,
    /// The order of its command, which further commands reuse.
    order: Order,
}

impl Running {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The pid of its first process, in the cloud's pid namespace. Killing that process ends the whole instance.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its first process, held open.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Its limits, for further commands.
    pub(super) fn confined(&self) -> &Confined {
        &self.confined
    }

    /// The order of its command.
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// The protections that this machine weakens, a sentence each; usually empty.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Its output.
    pub fn output(&self) -> &Arc<Output> {
        &self.output
    }

    /// How it ended, if it has ended.
    pub fn exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits until it has ended and nothing is left of it. All its output has been read by then.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
            Ok(Some(exit)) => exit,
            // Its watcher is gone, and killed the instance.
            _ => Exit::Signal(Signal::SIGKILL as i32),
        }
    }

    /// Waits like [`wait`](Self::wait), and returns how it ended: the exceeded limit, or its exit.
    pub async fn how(&self) -> String {
        let exit = self.wait().await;
        let how = self.how.get().cloned();
        how.unwrap_or_else(|| exit.to_string())
    }

    /// Sends the image's stop signal, and kills the instance if it has not ended after `grace`. Waits for its end.
    ///
    /// The kernel drops a signal to a process 1 without a handler for it. Waiting would change nothing, so such an
    /// instance is killed at once.
    pub async fn stop(&self, grace: Duration) -> Exit {
        if !disposition::is_dropped(self.pid, self.stop_signal) {
            // A send fails only if the instance has already ended.
            let _ = self.signals.send(self.stop_signal);
            if let Ok(exit) = timeout(grace, self.wait()).await {
                return exit;
            }
        }
        let _ = self.signals.send(Signal::SIGKILL as i32);
        self.wait().await
    }
}

/// Starts an instance in the network namespace `netns`; returns once its command runs.
///
/// # Errors
///
/// The reason why the command does not run. Nothing is left of the instance then.
pub async fn start(spec: &Spec, netns: OwnedFd, output: Arc<Output>) -> Result<Running, Error> {
    let id = spec.id.clone();
    let stop_signal = spec.stop_signal()?;
    let mut notes = Vec::new();
    let confined = spec.limiter.confine(&spec.id, &spec.limits, &mut notes);
    let scratch = Scratch::create(spec, &confined)?;
    let order = spec.order(scratch.0.clone(), &confined);
    let doing = |doing: &str| {
        let (id, doing) = (id.clone(), doing.to_owned());
        move |source| Error::Process { id, doing, source }
    };
    let (mut child, control, confined) = spawn(order.clone(), netns, confined)
        .await
        .map_err(doing("execute its first process"))?;
    // The watcher below reaps the process, so its number stays valid until then.
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .ok_or_else(|| doing("read its pid")(io::Error::other("it has ended")))?;
    let pidfd = rustix::process::Pid::from_raw(pid)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .map_err(|error| doing("open its first process")(error.into()))?;
    let readers = readers(&mut child, &output);
    control
        .set_nonblocking(true)
        .map_err(doing("listen to its first process"))?;
    let control =
        tokio::net::UnixStream::from_std(control).map_err(doing("listen to its first process"))?;
    let mut reports = BufReader::new(control).lines();

    // Dropping the child on an error kills it.
    let first = timeout(START_TIMEOUT, executed(&mut reports))
        .await
        .map_err(|_| Error::Timeout {
            id: id.clone(),
            after: START_TIMEOUT,
        })?;
    match first {
        Ok(more) => notes.extend(more),
        Err(reason) => {
            drop(child.wait().await);
            let reason = match reason {
                Some(reason) => reason,
                None => last_words(readers, &output).await,
            };
            return Err(Error::Sandbox { id, reason });
        }
    }
    let (signals, wanted) = mpsc::unbounded_channel();
    let (exited, exit) = watch::channel(None);
    let how = Arc::new(OnceLock::new());
    let watcher = Watcher {
        child,
        pid,
        readers,
        guard: Guard::new(confined.clone(), pid, scratch.0.clone()),
        scratch,
        output: Arc::clone(&output),
        how: Arc::clone(&how),
    };
    tokio::spawn(watcher.watch(wanted, exited));
    Ok(Running {
        id,
        pid,
        notes,
        stop_signal,
        signals,
        exit,
        how,
        output,
        confined,
        pidfd,
        order,
    })
}

type Reports = Lines<BufReader<tokio::net::UnixStream>>;
type Reader = JoinHandle<io::Result<()>>;

/// Waits until the command is executed, and returns the notes. Otherwise, returns the reason if the process sent one.
async fn executed(reports: &mut Reports) -> Result<Vec<String>, Option<String>> {
    let mut started = None;
    // Both the execution and the end of the process close the socket.
    while let Ok(Some(line)) = reports.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Report::Started { notes }) => started = Some(notes),
            Ok(Report::Failed { reason }) => return Err(Some(reason)),
            _ => {}
        }
    }
    started.ok_or(None)
}

fn readers(child: &mut Child, output: &Arc<Output>) -> Vec<Reader> {
    let mut readers = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let output = Arc::clone(output);
        readers.push(tokio::spawn(async move {
            output.take(Stream::Stdout, stdout).await
        }));
    }
    if let Some(stderr) = child.stderr.take() {
        let output = Arc::clone(output);
        readers.push(tokio::spawn(async move {
            output.take(Stream::Stderr, stderr).await
        }));
    }
    readers
}

/// Waits for the end of the output. All writers have ended with the pid namespace, so it is near.
async fn drain(readers: Vec<Reader>) {
    for reader in readers {
        drop(timeout(DRAIN_WITHIN, reader).await);
    }
}

/// The reason of a first process that ended without a report.
async fn last_words(readers: Vec<Reader>, output: &Output) -> String {
    drain(readers).await;
    let lines: Vec<_> = output.tail(5).into_iter().map(|line| line.text).collect();
    if lines.is_empty() {
        "its first process was killed".to_owned()
    } else {
        format!("its first process ended; it said: {}", lines.join(" / "))
    }
}

/// Watches an instance until its end.
struct Watcher {
    child: Child,
    pid: i32,
    readers: Vec<Reader>,
    guard: Guard,
    scratch: Scratch,
    output: Arc<Output>,
    how: Arc<OnceLock<String>>,
}

impl Watcher {
    async fn watch(
        mut self,
        mut wanted: mpsc::UnboundedReceiver<i32>,
        exited: watch::Sender<Option<Exit>>,
    ) {
        // The exceeded limit.
        let mut exceeded = None;
        let ended = loop {
            tokio::select! {
                reason = self.guard.exceeded(), if exceeded.is_none() => {
                    exceeded = Some(reason);
                    // The process is not reaped yet, so its number is still valid.
                    if let Err(error) = kill(Pid::from_raw(self.pid), Signal::SIGKILL) {
                        log(format_args!("kill process {}: {error}", self.pid));
                    }
                }
                ended = self.child.wait() => break ended,
                signal = wanted.recv() => {
                    // All handles are gone: the instance must end.
                    let gone = signal.is_none();
                    let signal = signal.unwrap_or(Signal::SIGKILL as i32);
                    // The process is not reaped yet, so its number is still valid.
                    if let Err(error) = signal::send(self.pid, signal) {
                        log(format_args!("send signal {signal} to process {}: {error}", self.pid));
                    }
                    if gone {
                        break self.child.wait().await;
                    }
                }
            }
        };
        let exit = match ended {
            Ok(status) => Exit::new(status),
            Err(error) => {
                log(format_args!("wait for process {}: {error}", self.pid));
                Exit::Signal(Signal::SIGKILL as i32)
            }
        };
        drain(self.readers).await;
        let how = exceeded.unwrap_or_else(|| self.guard.explain(exit.to_string()));
        if how != exit.to_string() {
            self.output.note(format!("landfall: the instance {how}"));
        }
        // An instance ends once, so the value is not set yet.
        let _ = self.how.set(how);
        let (scratch, guard) = (self.scratch, self.guard);
        // Removing many files takes time, and so may the last process.
        let gone = tokio::task::spawn_blocking(move || {
            drop(scratch);
            guard.remove();
        });
        drop(gone.await);
        // There may be no receiver.
        exited.send_replace(Some(exit));
    }
}
