//! The first process of an instance: builds the sandbox around itself, runs the image's command in it,
//! and stays as its process 1 (signals passed on, orphans reaped).
//!
//! The cloud executes this program again in a new pid namespace, with a socket as standard input.
//! Over it come the order ([`Order`], one line of JSON) and the network namespace, and back go
//! [`Report`]s, one line of JSON each.
#![expect(unsafe_code, reason = "the image's command is started by fork(2)")]

mod copy;
pub(crate) mod enter;
mod exec;
mod identity;
mod mounts;
mod privileges;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, sethostname, setsid};
use serde::{Deserialize, Serialize};

use super::fds;
use super::process::userns::explain;

/// The most open files an instance may have, unless the machine allows less.
const MAX_FILES: u64 = 65_536;

/// What an instance is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The image's files, never written to.
    pub(crate) rootfs: PathBuf,
    /// An existing folder for the instance's own files, on a file system of the cloud.
    pub(crate) scratch: PathBuf,
    /// The command and its arguments.
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    /// As an image names it: `user`, `uid`, `user:group`, `uid:gid`, or nothing for root.
    pub(crate) user: String,
    pub(crate) hostname: String,
    /// The texts of `/etc/hosts` and `/etc/resolv.conf`.
    pub(crate) hosts: String,
    pub(crate) resolv_conf: String,
    /// The most processes and threads that it may have.
    pub(crate) processes: u64,
}

/// What the first process tells the cloud.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The command runs; each note says what the machine made weaker than it should be.
    Started { notes: Vec<String> },
    /// The command was not started.
    Failed { reason: String },
    /// The command ended by itself.
    Exited { code: i32 },
    /// The command was ended by a signal.
    Killed { signal: i32 },
}

/// Becomes the first process of an instance; returns when its command has ended.
pub(super) fn run() -> ExitCode {
    let mut control = match take_control() {
        Ok(control) => control,
        Err(error) => {
            super::process::log(format_args!("instance: take the control socket: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let last = match prepare(&mut control).and_then(|(order, notes)| start(&order, notes)) {
        Ok((child, notes)) => match report(&mut control, &Report::Started { notes }) {
            Ok(()) => follow(child),
            // The cloud is gone, and the kernel is about to end this process.
            Err(_) => return ExitCode::FAILURE,
        },
        Err(reason) => Report::Failed { reason },
    };
    match report(&mut control, &last) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn report(control: &mut UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}

/// Moves the control socket away from standard input, which the command gets as `/dev/null`.
fn take_control() -> io::Result<UnixStream> {
    fds::close_inherited()?;
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(UnixStream::from(control))
}

/// Reads the order and makes this process the inside of the sandbox, still with all its powers.
fn prepare(control: &mut UnixStream) -> Result<(Order, Vec<String>), String> {
    let (order, netns) = receive(control).map_err(|error| format!("read the order: {error}"))?;
    let doing = |what: &'static str| move |error: Errno| explain(what, error);
    setsid().map_err(doing("leave the cloud's session"))?;
    let _ = prctl::set_name(c"landfall-init");
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(doing("enter the network namespace"))?;
    let mut notes = network_settings();
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)
        .map_err(doing("create mount, ipc and uts namespaces"))?;
    if let Err(error) = unshare(CloneFlags::CLONE_NEWCGROUP) {
        notes.push(format!("no cgroup namespace: {}", error.desc()));
    }
    sethostname(&order.hostname).map_err(doing("set the host name"))?;
    umask(Mode::from_bits_truncate(0o022));
    notes.extend(mounts::enter(&order)?);
    Ok((order, notes))
}

fn receive(control: &mut UnixStream) -> io::Result<(Order, OwnedFd)> {
    // The file comes with the first byte, which is no part of the order.
    let (length, mut files) = fds::receive(control.as_fd(), &mut [0])?;
    let netns = files.pop().filter(|_| length == 1);
    let netns = netns.ok_or_else(|| io::Error::other("the cloud closed the socket"))?;
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line)?;
    Ok((serde_json::from_str(&line)?, netns))
}

/// Lets every user of the instance bind ports below 1024 and send pings, as Docker does.
fn network_settings() -> Vec<String> {
    let everyone = if super::process::userns::single_user() {
        "0 0"
    } else {
        "0 2147483647"
    };
    [
        ("ip_unprivileged_port_start", "0"),
        ("ping_group_range", everyone),
    ]
    .into_iter()
    .filter_map(|(name, value)| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value)
            .err()
            .map(|error| format!("cannot set {path}: {error}"))
    })
    .collect()
}

/// Gives up all powers and starts the command; returns once it is executed.
fn start(order: &Order, notes: Vec<String>) -> Result<(Pid, Vec<String>), String> {
    let identity = identity::resolve(&order.user, Path::new("/"))?;
    let cwd = &order.cwd;
    std::fs::create_dir_all(cwd)
        .and_then(|()| std::env::set_current_dir(cwd))
        .map_err(|error| format!("use {} as working folder: {error}", cwd.display()))?;
    limits().map_err(|error| explain("set resource limits", error))?;
    privileges::give_up(&identity)?;
    limit_processes(order.processes).map_err(|error| explain("limit processes", error))?;
    let command = exec::Command::new(order, &identity)?;
    // From here on every signal waits for `follow`.
    SigSet::all()
        .thread_block()
        .map_err(|error| explain("block signals", error))?;
    // Closed on exec, so it ends without a word if the command is executed.
    let (mut said, mut say) = io::pipe().map_err(|error| format!("create a pipe: {error}"))?;
    // SAFETY: this process has one thread, so the copy is whole and may go on as any program.
    match unsafe { fork() }.map_err(|error| explain("fork", error))? {
        ForkResult::Child => {
            let reason = match reset_signals() {
                Ok(()) => command.execute(),
                Err(error) => explain("reset signals", error),
            };
            let _ = say.write_all(reason.as_bytes());
            std::process::exit(127)
        }
        ForkResult::Parent { child } => {
            drop(say);
            let mut reason = String::new();
            said.read_to_string(&mut reason)
                .map_err(|error| format!("listen to the command: {error}"))?;
            if reason.is_empty() {
                Ok((child, notes))
            } else {
                Err(reason)
            }
        }
    }
}

fn limits() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = hard.min(MAX_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    // A core file would fill the cloud's memory.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// Limits the processes of an ordinary user's instance. The kernel counts them for each user namespace (since 5.14),
/// and the instance has just got one of its own; root's instances have the control group only, since their users
/// are the machine's.
fn limit_processes(most: u64) -> nix::Result<()> {
    if !super::process::userns::single_user() || !super::process::userns::counts_processes() {
        return Ok(());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    let most = hard.min(most);
    setrlimit(Resource::RLIMIT_NPROC, most, most)
}

/// Gives the command the signals as a new process expects them.
fn reset_signals() -> nix::Result<()> {
    // SAFETY: the default action is no handler of ours. Rust's runtime ignores SIGPIPE in every
    // program it starts, and that would be inherited.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    SigSet::empty().thread_set_mask()
}

/// Does what process 1 must, until the command ends: passes signals on and reaps orphans.
fn follow(command: Pid) -> Report {
    let all = SigSet::all();
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(report) = reap(command) {
                    return report;
                }
            }
            // It may have just ended.
            Ok(signal) => drop(kill(command, signal)),
            // A signal without a name (a real-time one) is for nobody.
            Err(_) => {}
        }
    }
}

/// Reaps every process that has ended; tells if the command is one of them.
fn reap(command: Pid) -> Option<Report> {
    let mut report = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == command => {
                report = Some(Report::Exited { code });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                report = Some(Report::Killed {
                    signal: signal as i32,
                });
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return report,
            Ok(_) => {}
        }
    }
}
