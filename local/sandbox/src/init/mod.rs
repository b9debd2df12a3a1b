//! The first process of an instance: builds the sandbox around itself and then becomes the image's command.
//!
//! The cloud executes a copy of this program ([`program`]) in a new pid namespace, with a socket as standard input.
//! The socket carries the order ([`Order`], one line of JSON), the network namespace and this program's mount. Right
//! before the command is executed, the process sends [`Report::Started`], one line of JSON. The execution closes the
//! socket; if it fails, a [`Report::Failed`] comes first. From then on the command is process 1, and the cloud its
//! parent. With [`Order::init`], this process stays process 1, and the command is its child ([`reaper`]).
//!
//! **Invariant:** a process that has joined a namespace of an instance is not visible from there ([`hide`]).
#![expect(
    unsafe_code,
    reason = "fork(2), keyctl(2) and signal(2) have no safe form"
)]

mod copy;
mod elf;
pub(crate) mod enter;
mod exec;
mod identity;
mod keyring;
mod mounts;
mod privileges;
pub(crate) mod program;
mod reaper;
mod seccomp;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{sethostname, setsid};
use serde::{Deserialize, Serialize};

use landfall_kernel::fds;
use landfall_kernel::userns::{explain, single_user};

/// The maximum number of open files of an instance, unless the machine allows less.
const MAX_FILES: u64 = 65_536;

/// The order for an instance's first process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The image's files, which are never changed.
    pub(crate) rootfs: PathBuf,
    /// An existing folder for the instance's own files, on a file system of the cloud.
    pub(crate) scratch: PathBuf,
    /// The command and its arguments.
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    /// The image's `USER`: `user`, `uid`, `user:group`, `uid:gid`, or empty for root.
    pub(crate) user: String,
    pub(crate) hostname: String,
    /// The texts of `/etc/hosts` and `/etc/resolv.conf`.
    pub(crate) hosts: String,
    pub(crate) resolv_conf: String,
    /// The maximum number of its processes and threads.
    pub(crate) processes: u64,
    /// Whether process 1 is a reaper and the command its child.
    pub(crate) init: bool,
}

/// A message to the cloud from a process that enters an instance.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The command is executed next; each note names a protection that the machine weakens.
    Started { notes: Vec<String> },
    /// The command was not executed.
    Failed { reason: String },
    /// The command ended by itself.
    Exited { code: i32 },
    /// The command was ended by a signal.
    Killed { signal: i32 },
}

/// Becomes the first process of an instance; returns only when the command was not executed.
pub(super) fn run() -> ExitCode {
    let mut control = match hide().and_then(|()| take_control()) {
        Ok(control) => control,
        Err(error) => {
            landfall_kernel::log(format_args!("instance: take the control socket: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let reason = match prepare(&mut control)
        .and_then(|(order, notes)| Ok((ready(&order)?, order.init, notes)))
    {
        Ok((command, init, notes)) => {
            if report(&mut control, &Report::Started { notes }).is_err() {
                // The cloud is gone, and the kernel is about to end this process.
                return ExitCode::FAILURE;
            }
            if init {
                match reaper::run(command, control) {
                    Ok(code) => std::process::exit(code),
                    Err(reason) => {
                        landfall_kernel::log(format_args!("instance: {reason}"));
                        return ExitCode::FAILURE;
                    }
                }
            }
            match reset_signals() {
                Ok(()) => command.execute(),
                Err(error) => explain("reset signals", error),
            }
        }
        Err(reason) => reason,
    };
    // The cloud may be gone.
    let _ = report(&mut control, &Report::Failed { reason });
    ExitCode::FAILURE
}

/// Hides this process from others: its memory, its open files and its program's file, through `/proc` and ptrace(2).
/// Ends with the execution of another program.
fn hide() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

fn report(control: &mut UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    control.write_all(&line)
}

/// Moves the control socket away from standard input. The command gets `/dev/null` there.
fn take_control() -> io::Result<UnixStream> {
    fds::close_inherited()?;
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(UnixStream::from(control))
}

/// Reads the order and builds the sandbox around this process, which still has all its privileges.
fn prepare(control: &mut UnixStream) -> Result<(Order, Vec<String>), String> {
    let (order, netns, program) =
        receive(control).map_err(|error| format!("read the order: {error}"))?;
    program::lock(&program)?;
    drop(program);
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

fn receive(control: &mut UnixStream) -> io::Result<(Order, OwnedFd, OwnedFd)> {
    // The files come with the first byte, which is not part of the order.
    let (length, files) = fds::receive(control.as_fd(), &mut [0])?;
    let files = <[OwnedFd; 2]>::try_from(files).ok().filter(|_| length == 1);
    let [netns, program] = files.ok_or_else(|| io::Error::other("the cloud closed the socket"))?;
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line)?;
    Ok((serde_json::from_str(&line)?, netns, program))
}

/// Lets every user of the instance bind ports below 1024 and send pings, as Docker does.
fn network_settings() -> Vec<String> {
    let everyone = if single_user() { "0 0" } else { "0 2147483647" };
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

/// Gives up all privileges, and finds the command.
fn ready(order: &Order) -> Result<exec::Command, String> {
    let identity = identity::resolve(&order.user, Path::new("/"))?;
    std::fs::create_dir_all(&order.cwd)
        .map_err(|error| format!("create the working folder {}: {error}", order.cwd.display()))?;
    enter_folder(&order.cwd)?;
    limits().map_err(|error| explain("set resource limits", error))?;
    keyring::renew().map_err(|error| explain("make a session keyring", error))?;
    privileges::give_up(&identity, None, single_user())?;
    limit_processes(order.processes).map_err(|error| explain("limit processes", error))?;
    seccomp::restrict()?;
    exec::Command::new(order, &identity)
}

/// Changes to the working folder `path`, unless it leads out of the instance through an open file (CVE-2024-21626).
fn enter_folder(path: &Path) -> Result<(), String> {
    std::env::set_current_dir(path)
        .and_then(|()| {
            let inside = std::env::current_dir()?.is_absolute();
            inside
                .then_some(())
                .ok_or_else(|| io::Error::other("it is outside of the instance"))
        })
        .map_err(|error| format!("use {} as working folder: {error}", path.display()))
}

fn limits() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = hard.min(MAX_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    // A core file would fill the cloud's memory.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)
}

/// Limits the processes of an ordinary user's instance. The kernel counts them per user namespace (since 5.14), and
/// the instance has a new one. Root's instances have only the control group, because their users are the machine's.
fn limit_processes(most: u64) -> nix::Result<()> {
    if !landfall_kernel::userns::single_user() || !landfall_kernel::userns::counts_processes() {
        return Ok(());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    let most = hard.min(most);
    setrlimit(Resource::RLIMIT_NPROC, most, most)
}

/// Restores the default signal handling for the command.
fn reset_signals() -> nix::Result<()> {
    // SAFETY: the default action is not a handler of this program. Rust's runtime ignores SIGPIPE in every program,
    // and the command would inherit that.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    SigSet::empty().thread_set_mask()
}
