//! A further command in an instance, from the cloud's side: start, output, end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, pipe};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;

use super::limits::Confined;
use super::spawn::START_TIMEOUT;
use super::{Error, Exit, Running};
use crate::ROLE_ENTER;
use crate::init::Report;
use crate::init::enter::{ExecMode, ExecTask, Size};
use crate::init::program::Program;
use landfall_kernel::ROLE_VAR;
use landfall_kernel::fds;
use landfall_kernel::log;

/// A task in an instance beside the instance's own command.
#[derive(Clone, Debug)]
pub enum Further {
    /// A command, on a terminal of this size or on pipes.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// The alternative command, for an image without the program.
        otherwise: Option<Vec<String>>,
        /// Environment in addition to the instance's own.
        env: BTreeMap<String, String>,
        /// The size of its terminal, if it has one.
        terminal: Option<Size>,
    },
    /// A server of the instance's files, which uses SFTP on its pipes.
    Files,
}

/// A command that runs in an instance beside the instance's own. Dropping this value hangs it up.
#[derive(Debug)]
pub struct Entered {
    /// The input of the command; dropping it ends the input, unless the command has a terminal.
    pub input: Option<pipe::Sender>,
    /// The output of the command; on a terminal, all output.
    pub output: pipe::Receiver,
    /// The error output; nothing on a terminal.
    pub errors: Option<pipe::Receiver>,
    /// The handle that controls the command.
    pub handle: Handle,
}

/// The control of a command.
#[derive(Debug)]
pub struct Handle {
    control: OwnedWriteHalf,
    terminal: Option<File>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Handle {
    /// Sends a signal to the command and its children.
    pub fn signal(&self, number: u8) {
        // The command may have ended.
        let _ = self.control.try_write(&[number]);
    }

    /// Sets the size of the terminal, if there is one.
    pub fn resize(&self, size: Size) {
        if let Some(terminal) = &self.terminal {
            let _ = rustix::termios::tcsetwinsize(terminal, size.window());
        }
    }

    /// Waits for the end of the command.
    pub fn wait(&self) -> impl Future<Output = Exit> + Send + 'static {
        let mut exit = self.exit.clone();
        async move {
            match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
                Ok(Some(exit)) => exit,
                // The task that watches the command is gone.
                _ => Exit::Signal(nix::sys::signal::Signal::SIGKILL as i32),
            }
        }
    }
}

/// The result of [`launch`]: the entering process, and this side of its streams.
struct Launched {
    child: Child,
    control: UnixStream,
    input: OwnedFd,
    output: OwnedFd,
    errors: Option<OwnedFd>,
    terminal: Option<File>,
}

/// Starts a further command in an instance; returns once it runs.
///
/// # Errors
/// [`Error::Sandbox`] when the command cannot be executed, with the reason in terms of the image.
pub async fn enter(running: &Running, further: Further) -> Result<Entered, Error> {
    let id = running.id().to_owned();
    let failed = |doing: &str| {
        let (id, doing) = (id.clone(), doing.to_owned());
        move |source| Error::Process { id, doing, source }
    };
    let mut order = running.order().clone();
    let (terminal, otherwise, does) = match further {
        Further::Files => (None, None, ExecMode::Files),
        Further::Command {
            argv,
            otherwise,
            env,
            terminal,
        } => {
            order.argv = argv;
            order.env.extend(env);
            (terminal, otherwise, ExecMode::Command)
        }
    };
    let errand = ExecTask {
        order,
        otherwise,
        terminal,
        does,
    };
    let instance = running
        .pidfd()
        .try_clone()
        .map_err(failed("open its first process"))?;
    let confined = running.confined().clone();
    let launched = tokio::task::spawn_blocking(move || launch(&errand, &instance, &confined)).await;
    let launched = launched
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(failed("enter it"))?;
    let made = match launched {
        Ok(made) => made,
        Err(reason) => return Err(Error::Sandbox { id, reason }),
    };
    made.control
        .set_nonblocking(true)
        .map_err(failed("listen to what enters it"))?;
    let control = tokio::net::UnixStream::from_std(made.control)
        .map_err(failed("listen to what enters it"))?;
    let (reports, control) = control.into_split();
    let mut reports = BufReader::new(reports).lines();
    let mut child = made.child;
    let first = timeout(START_TIMEOUT, reports.next_line()).await;
    let first = first.map_err(|_| Error::Timeout {
        id: id.clone(),
        after: START_TIMEOUT,
    })?;
    match first.ok().flatten().and_then(|line| parse(&line)) {
        Some(Report::Started { .. }) => {}
        other => {
            drop(child.wait().await);
            let reason = match other {
                Some(Report::Failed { reason }) => reason,
                _ => "its process ended before the command ran".to_owned(),
            };
            return Err(Error::Sandbox { id, reason });
        }
    }
    let (exited, exit) = watch::channel(None);
    tokio::spawn(follow(child, reports, exited));
    let streams = || -> io::Result<_> {
        Ok((
            pipe::Sender::from_owned_fd_unchecked(made.input)?,
            pipe::Receiver::from_owned_fd_unchecked(made.output)?,
            made.errors
                .map(pipe::Receiver::from_owned_fd_unchecked)
                .transpose()?,
        ))
    };
    let (input, output, errors) = streams().map_err(failed("talk to the command"))?;
    Ok(Entered {
        input: Some(input),
        output,
        errors,
        handle: Handle {
            control,
            terminal: made.terminal,
            exit,
        },
    })
}

/// Executes the copy of this program to enter the instance, and sends it its task. Returns the error if that fails.
fn launch(
    errand: &ExecTask,
    instance: &OwnedFd,
    confined: &Confined,
) -> io::Result<Result<Launched, String>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.set_write_timeout(Some(START_TIMEOUT))?;
    ours.set_read_timeout(Some(START_TIMEOUT))?;
    let on_pipes = errand.terminal.is_none();
    let stream = || {
        if on_pipes {
            Stdio::piped()
        } else {
            Stdio::null()
        }
    };
    let program = Program::mount()?;
    let mut command = std::process::Command::new(program.path());
    command
        .arg0("landfall-enter")
        .env_clear()
        .env(ROLE_VAR, ROLE_ENTER)
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(stream())
        .stderr(stream());
    // Dropping it does not kill the process: when its socket closes, it first ends the command.
    let mut child = tokio::process::Command::from(command).spawn()?;
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // The process waits for its task, so its limits apply before it starts.
        confined.join(pid)?;
    }
    let mut line = serde_json::to_vec(errand)?;
    line.push(b'\n');
    if on_pipes {
        let (reader, writer) = io::pipe()?;
        let files: [BorrowedFd<'_>; 3] = [instance.as_fd(), program.as_fd(), reader.as_fd()];
        fds::send(ours.as_fd(), b"\n", &files)?;
        ours.write_all(&line)?;
        let gone = || io::Error::other("its process has no pipes");
        let output = child.stdout.take().ok_or_else(gone)?.into_owned_fd()?;
        let errors = child.stderr.take().ok_or_else(gone)?.into_owned_fd()?;
        let input = OwnedFd::from(writer);
        for stream in [&input, &output, &errors] {
            nonblocking(stream)?;
        }
        return Ok(Ok(Launched {
            child,
            control: ours,
            input,
            output,
            errors: Some(errors),
            terminal: None,
        }));
    }
    fds::send(ours.as_fd(), b"\n", &[instance.as_fd(), program.as_fd()])?;
    ours.write_all(&line)?;
    let mut first = [0];
    let (length, mut files) = fds::receive(ours.as_fd(), &mut first)?;
    let Some(terminal) = files.pop() else {
        // The byte belongs to a report instead.
        let mut text = String::from_utf8_lossy(&first[..length]).into_owned();
        let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(&ours), &mut text);
        return Ok(Err(match parse(&text) {
            Some(Report::Failed { reason }) => reason,
            _ => "its process ended before there was a terminal".to_owned(),
        }));
    };
    nonblocking(&terminal)?;
    Ok(Ok(Launched {
        child,
        control: ours,
        input: terminal.try_clone()?,
        output: terminal.try_clone()?,
        errors: None,
        terminal: Some(File::from(terminal)),
    }))
}

fn nonblocking(stream: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(stream)? | rustix::fs::OFlags::NONBLOCK;
    Ok(rustix::fs::fcntl_setfl(stream, flags)?)
}

fn parse(line: &str) -> Option<Report> {
    serde_json::from_str(line).ok()
}

/// Waits for the end of a command, and returns its exit.
async fn follow(
    mut child: Child,
    mut reports: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    exited: watch::Sender<Option<Exit>>,
) {
    let last = reports.next_line().await.ok().flatten();
    let exit = match last.and_then(|line| parse(&line)) {
        Some(Report::Exited { code }) => Exit::Code(code),
        Some(Report::Killed { signal }) => Exit::Signal(signal),
        _ => Exit::Signal(nix::sys::signal::Signal::SIGKILL as i32),
    };
    exited.send_replace(Some(exit));
    if let Err(error) = child.wait().await {
        log(format_args!("wait for a command in an instance: {error}"));
    }
}
