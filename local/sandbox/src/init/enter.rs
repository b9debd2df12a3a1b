//! A further command in a running instance: it enters the instance's namespaces, and runs as its user.
//!
//! The cloud executes this program again with a socket as standard input. The socket first carries the instance's
//! first process (as a pidfd), this program's mount and, for a command without a terminal, its standard input. Then
//! it carries an [`ExecTask`], one line of JSON. The process sends back the other side of the terminal, if there is
//! one, and [`Report`]s, one line of JSON each. Later bytes from the cloud are numbers of signals. When the cloud
//! closes the socket, the command is hung up.
#![expect(unsafe_code, reason = "the command is started by fork(2)")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};
use rustix::process::{PidfdFlags, WaitOptions, waitpid};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use serde::{Deserialize, Serialize};

use super::{
    Order, Report, enter_folder, exec, hide, identity, keyring, limit_processes, limits,
    privileges, program, report, seccomp, take_control,
};
use landfall_kernel::fds;
use landfall_kernel::userns::{explain, single_user};

/// The time that a hung-up command gets to end, in milliseconds.
const HANG_UP_MS: u16 = 2_000;

/// The task in the instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExecTask {
    /// The order of the instance's own command, with the command of this task.
    pub(crate) order: Order,
    /// The alternative command, for an image without the program.
    pub(crate) otherwise: Option<Vec<String>>,
    /// The size of its terminal; without one, standard input, output and error are pipes.
    pub(crate) terminal: Option<Size>,
    pub(crate) does: ExecMode,
}

/// The action of a further process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExecMode {
    /// Runs the order's command.
    Command,
    /// Serves the instance's files by SFTP over its standard input and output.
    Files,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

impl Size {
    pub(crate) fn window(self) -> Winsize {
        Winsize {
            ws_row: self.rows,
            ws_col: self.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }
}

/// Becomes the parent of a further command; returns when that command has ended.
pub(crate) fn run(serve_files: fn() -> i32) -> ExitCode {
    let mut control = match hide().and_then(|()| take_control()) {
        Ok(control) => control,
        Err(error) => {
            landfall_kernel::log(format_args!("enter an instance: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let last = match receive(&mut control)
        .map_err(|error| format!("read what is to be run: {error}"))
        .and_then(|(errand, files)| start(&mut control, &errand, files, serve_files))
    {
        Ok(child) => match report(&mut control, &Report::Started { notes: Vec::new() }) {
            Ok(()) => follow(&mut control, child),
            // The cloud is gone, and the instance with it.
            Err(_) => return ExitCode::FAILURE,
        },
        Err(reason) => Report::Failed { reason },
    };
    match report(&mut control, &last) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn receive(control: &mut UnixStream) -> io::Result<(ExecTask, Vec<OwnedFd>)> {
    // The files come with the first byte, which is not part of the task.
    let (length, files) = fds::receive(control.as_fd(), &mut [0])?;
    if length != 1 || files.len() < 2 {
        return Err(io::Error::other("the cloud closed the socket"));
    }
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line)?;
    Ok((serde_json::from_str(&line)?, files))
}

/// Enters the instance and starts the task; returns once the command is executed.
fn start(
    control: &mut UnixStream,
    errand: &ExecTask,
    mut files: Vec<OwnedFd>,
    serve_files: fn() -> i32,
) -> Result<Pid, String> {
    let instance = files.remove(0);
    // Before this process touches anything of the instance.
    program::lock(&files.remove(0))?;
    let doing = |what: &'static str| move |error: Errno| explain(what, error);
    // Before this process sees anything that the instance may have changed.
    let single_user = single_user();
    let null = File::open("/dev/null").map_err(|error| format!("open /dev/null: {error}"))?;
    setns(
        &instance,
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )
    .map_err(doing("enter the instance"))?;
    // Not every machine allows the instance its own.
    let _ = setns(&instance, CloneFlags::CLONE_NEWCGROUP);
    let terminal = errand
        .terminal
        .map(|size| terminal(control, size))
        .transpose()
        .map_err(|error| format!("make a terminal: {error}"))?;
    // Closed on exec, so it ends without a message if the command is executed.
    let (mut said, mut say) = io::pipe().map_err(|error| format!("create a pipe: {error}"))?;
    // SAFETY: this process has one thread, so the copy is whole and may go on as any program.
    match unsafe { fork() }.map_err(doing("fork"))? {
        ForkResult::Child => {
            let streams = terminal.or_else(|| files.pop());
            let reason = match become_command(errand, streams, &instance, single_user, &say) {
                Ok(Ready::Command(command)) => command.execute(),
                Ok(Ready::Files) => {
                    drop(say);
                    std::process::exit(serve_files())
                }
                Err(reason) => reason,
            };
            let _ = say.write_all(reason.as_bytes());
            std::process::exit(127)
        }
        ForkResult::Parent { child } => {
            drop(say);
            // The reader of the command's output waits for its end.
            dup2_stdout(&null)
                .and_then(|()| dup2_stderr(&null))
                .map_err(|error| format!("let go of the command's output: {error}"))?;
            let mut reason = String::new();
            said.read_to_string(&mut reason)
                .map_err(|error| format!("listen to the command: {error}"))?;
            if reason.is_empty() {
                return Ok(child);
            }
            let _ = nix::sys::wait::waitpid(child, None);
            Err(reason)
        }
    }
}

/// Creates a terminal in the instance, sends one side to the cloud, and returns the command's side.
fn terminal(control: &UnixStream, size: Size) -> io::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    // Not /dev/ptmx, which the instance may have replaced; this path cannot be replaced.
    let theirs = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NOFOLLOW)
        .open("/dev/pts/ptmx")?;
    if theirs.metadata()?.rdev() != libc::makedev(5, 2) {
        return Err(io::Error::other("/dev/pts/ptmx makes no terminals"));
    }
    let theirs = OwnedFd::from(theirs);
    rustix::pty::unlockpt(&theirs)?;
    let ours = rustix::pty::ioctl_tiocgptpeer(&theirs, flags)?;
    rustix::termios::tcsetwinsize(&ours, size.window())?;
    fds::send(control.as_fd(), b"\n", &[theirs.as_fd()])?;
    Ok(ours)
}

enum Ready {
    Command(exec::Command),
    Files,
}

/// Gives the new process the user, the privileges and the folder of the instance's own command.
fn become_command(
    errand: &ExecTask,
    streams: Option<OwnedFd>,
    instance: &OwnedFd,
    single_user: bool,
    say: &impl AsFd,
) -> Result<Ready, String> {
    let order = &errand.order;
    let doing = |what: &'static str| move |error: Errno| explain(what, error);
    setsid().map_err(doing("begin a session"))?;
    umask(Mode::from_bits_truncate(0o022));
    if let Some(streams) = streams {
        dup2_stdin(&streams).map_err(doing("take standard input"))?;
        if errand.terminal.is_some() {
            rustix::process::ioctl_tiocsctty(&streams)
                .map_err(|error| format!("take the terminal: {error}"))?;
            dup2_stdout(&streams).map_err(doing("take standard output"))?;
            dup2_stderr(&streams).map_err(doing("take standard error"))?;
        }
    }
    // Above all the control socket, which only the parent needs.
    fds::close_all_but(&[instance.as_fd(), say.as_fd()]).map_err(doing("close files"))?;
    let identity = identity::resolve(&order.user, Path::new("/"))?;
    enter_folder(&order.cwd)?;
    limits().map_err(doing("set resource limits"))?;
    keyring::renew().map_err(doing("make a session keyring"))?;
    privileges::give_up(&identity, Some(instance.as_fd()), single_user)?;
    limit_processes(order.processes).map_err(doing("limit processes"))?;
    seccomp::restrict()?;
    if errand.does == ExecMode::Files {
        return Ok(Ready::Files);
    }
    let command = match &errand.otherwise {
        Some(argv) if !has_program(order) => {
            let order = Order {
                argv: argv.clone(),
                ..order.clone()
            };
            exec::Command::new(&order, &identity)?
        }
        _ => exec::Command::new(order, &identity)?,
    };
    super::reset_signals().map_err(doing("reset signals"))?;
    Ok(Ready::Command(command))
}

/// Whether the order's program, a path, exists.
fn has_program(order: &Order) -> bool {
    order
        .argv
        .first()
        .is_some_and(|program| Path::new(program).exists())
}

/// Forwards signals until the command ends; hangs up the command when the cloud closes the socket.
fn follow(control: &mut UnixStream, child: Pid) -> Report {
    let Some(pidfd) = rustix::process::Pid::from_raw(child.as_raw())
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return ended(child, None);
    };
    loop {
        let mut watched = [
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return ended(child, None),
        }
        if watched[0].any() == Some(true) {
            return ended(child, None);
        }
        if watched[1].any() != Some(true) {
            continue;
        }
        let mut number = [0];
        match control.read(&mut number) {
            Ok(1) => {
                if let Ok(signal) = Signal::try_from(i32::from(number[0])) {
                    // The command leads a session, and so a group. It may have just ended.
                    let _ = kill(Pid::from_raw(-child.as_raw()), signal);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => {
                let _ = kill(Pid::from_raw(-child.as_raw()), Signal::SIGHUP);
                let mut watched = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut watched, PollTimeout::from(HANG_UP_MS));
                return ended(child, Some(Signal::SIGKILL));
            }
        }
    }
}

/// The exit of the command, perhaps after a last signal.
fn ended(child: Pid, last: Option<Signal>) -> Report {
    let wait = |options| {
        let pid = rustix::process::Pid::from_raw(child.as_raw());
        match waitpid(pid, options) {
            Ok(None) => None,
            Ok(Some((_, status))) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Some(Report::Exited { code }),
                (None, Some(signal)) => Some(Report::Killed { signal }),
                (None, None) => None,
            },
            Err(rustix::io::Errno::INTR) => None,
            // Nobody's child any more, and nobody listens.
            Err(_) => Some(Report::Killed {
                signal: Signal::SIGHUP as i32,
            }),
        }
    };
    if let Some(signal) = last {
        if let Some(report) = wait(WaitOptions::NOHANG) {
            return report;
        }
        let _ = kill(Pid::from_raw(-child.as_raw()), signal);
    }
    loop {
        if let Some(report) = wait(WaitOptions::empty()) {
            return report;
        }
    }
}
