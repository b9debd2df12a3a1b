//! The inner process: creates its namespaces, then runs the cloud in them.

use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::sethostname;

use super::outer::MAX_MESSAGE;
use super::runtime_dir::RuntimeDir;
use super::{Arguments, CloudMain};
use landfall_kernel::{descriptors, fds, userns};
use tracing::error;

/// The environment of the inner process.
#[derive(Debug)]
#[non_exhaustive]
pub struct CloudContext {
    /// The control socket: it listens and is non-blocking. Clients find it only after
    /// [`Outer::ready`].
    pub listener: UnixListener,
    /// The directory of this cloud in the machine's file system.
    pub dir: PathBuf,
    /// An empty memory file system of limited size, invisible outside.
    pub scratch: PathBuf,
    /// The outer process.
    pub outer: Outer,
}

/// The interface of the outer process for the inner one. Calls block until the answer, which is immediate.
#[derive(Clone, Debug)]
pub struct Outer(Arc<Mutex<OwnedFd>>);

impl Outer {
    /// Reports to the starting program that the cloud serves, and moves the control socket to its place.
    ///
    /// # Errors
    ///
    /// The outer process is gone, or the runtime directory was removed.
    pub fn ready(&self) -> io::Result<()> {
        self.ask("ready").map(|_| ())
    }

    /// Listens on a loopback address of the machine's own network, outside of every namespace.
    /// Port 0 takes any free port. The result is a blocking listener.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `PermissionDenied` (an ordinary user below port 1024, or an address that is
    /// not a loopback one), or the outer process is gone.
    pub fn bind_loopback(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let fd = self
            .ask(&format!("bind {address}"))?
            .ok_or_else(|| io::Error::other("the outer process answered without a socket"))?;
        Ok(TcpListener::from(fd))
    }

    fn ask(&self, request: &str) -> io::Result<Option<OwnedFd>> {
        // Nothing between request and reply can panic.
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fds::send(socket.as_fd(), request.as_bytes(), &[])?;
        let mut buffer = [0; MAX_MESSAGE];
        let (length, mut files) = fds::receive(socket.as_fd(), &mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text == "ok" {
            return Ok(files.pop());
        }
        Err(match text.strip_prefix("errno ").map(str::parse) {
            Some(Ok(code)) => io::Error::from_raw_os_error(code),
            _ => io::Error::new(io::ErrorKind::BrokenPipe, "the outer process is gone"),
        })
    }
}

/// The main function of the inner process; returns when the cloud has ended.
pub(super) fn run(cloud_main: CloudMain) -> ExitCode {
    match begin() {
        Ok(None) => ExitCode::FAILURE,
        Ok(Some((context, _lock))) => {
            let outer = context.outer.clone();
            let result = prepare(&context.scratch).and_then(|()| {
                cloud_main(context).map_err(|error| {
                    let mut text = error.to_string();
                    let mut cause = error.source();
                    while let Some(next) = cause {
                        text.push_str(&format!(": {next}"));
                        cause = next.source();
                    }
                    text
                })
            });
            let Err(reason) = result else {
                return ExitCode::SUCCESS;
            };
            error!("{reason}");
            // Only a program that still waits for the start reads this.
            let most = reason.floor_char_boundary(MAX_MESSAGE - "failed ".len());
            let _ = outer.ask(&format!("failed {}", &reason[..most]));
            ExitCode::FAILURE
        }
        Err(error) => {
            error!("inner process: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Receives the first message of the outer process. `None` if it died before.
fn begin() -> Result<Option<(CloudContext, OwnedFd)>, String> {
    let arguments = Arguments::read()?;
    let doing = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    fds::close_inherited().map_err(doing("close inherited files"))?;
    // The kernel kills this process, and with it the whole pid namespace, when the outer process
    // dies. If it died before this call, there is no message, and the next read ends this process.
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| format!("ask to die with the outer process: {error}"))?;
    let _ = prctl::set_name(super::pids::NAME);
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(doing("take the socket to the outer process"))?;
    std::fs::File::open("/dev/null")
        .and_then(|null| Ok(nix::unistd::dup2_stdin(null)?))
        .map_err(doing("close standard input"))?;
    let (length, files) = fds::receive(socket.as_fd(), &mut [0; MAX_MESSAGE])
        .map_err(doing("wait for the outer process"))?;
    if length == 0 {
        return Ok(None);
    }
    let [listener, lock] = <[OwnedFd; 2]>::try_from(files)
        .map_err(|files| format!("the outer process sent {} files, not 2", files.len()))?;
    let listener = UnixListener::from(listener);
    listener
        .set_nonblocking(true)
        .map_err(doing("make the control socket non-blocking"))?;
    let scratch = RuntimeDir::new(arguments.dir.clone())
        .map_err(|error| error.to_string())?
        .scratch();
    Ok(Some((
        CloudContext {
            listener,
            scratch,
            dir: arguments.dir,
            outer: Outer(Arc::new(Mutex::new(socket))),
        },
        lock,
    )))
}

/// Creates the namespaces and their file systems.
fn prepare(scratch: &Path) -> Result<(), String> {
    descriptors::raise()?;
    let doing = |what: &str| {
        let what = what.to_owned();
        move |error: Errno| userns::explain(&what, error)
    };
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )
    .map_err(doing("create mount, network, ipc and uts namespaces"))?;
    // Mounts of this namespace stay invisible outside.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .map_err(doing("make the mounts private"))?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    // The machine's /proc shows the pids of another namespace.
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        safe | MsFlags::MS_NOEXEC,
        None::<&str>,
    )
    .map_err(doing("mount /proc"))?;
    landfall_sandbox::copy_program(scratch)?;
    let bytes = Arguments::read()?.scratch_bytes;
    mount(
        Some("landfall"),
        scratch,
        Some("tmpfs"),
        safe,
        Some(format!("mode=0700,size={bytes}").as_str()),
    )
    .map_err(doing(&format!(
        "mount a memory file system on {}",
        scratch.display()
    )))?;
    sethostname(OsStr::new("landfall")).map_err(doing("set the host name"))?;
    Ok(())
}
