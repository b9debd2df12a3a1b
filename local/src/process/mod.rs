//! The background process of the cloud: its start, its parts and its end.
//!
//! It consists of two processes; both execute the caller's own program again (see [`hook`]):
//!
//! - *outer* stays in the machine's network and has one thread. It opens the loopback ports
//!   that the inner process asks for, and removes the socket at the end.
//! - *inner* is process 1 of new pid, mount, network, ipc and uts namespaces (within a user
//!   namespace for an ordinary user) and runs the cloud.
//!
//! Each dies with the other. With the inner one, the kernel removes every namespace, mount and
//! process that it created.

mod inner;
mod launch;
mod logging;
mod outer;
mod pids;
mod runtime_dir;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use landfall_kernel::ROLE_VAR;

use crate::secrets::SECRET;

pub use inner::{CloudContext, Outer};
pub(crate) use launch::pids;
pub use launch::{Cloud, Launch, clear, running};
pub(crate) use pids::Pids;
pub use runtime_dir::default_dir;

const ROLE_OUTER: &str = "cloud";
const ROLE_INNER: &str = "cloud-inner";
/// Whether this process called [`hook`].
static HOOKED: AtomicBool = AtomicBool::new(false);

/// The main function of the inner process. It calls [`Outer::ready`] when it serves, ends on SIGTERM, and
/// is called before any other thread exists.
pub type CloudMain = fn(CloudContext) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The background process could not be reached or started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program does not call [`hook`]: it would run its own `main` again.
    #[error(
        "start the local cloud: {program} does not call landfall_local::hook() first thing in main"
    )]
    NotHooked {
        /// The program.
        program: String,
    },
    /// A part of the cloud tried to start a cloud.
    #[error(
        "start the local cloud: this process is itself a part of one ({ROLE_VAR}={role}); \
         does its main call landfall_local::hook() first?"
    )]
    Nested {
        /// The part.
        role: String,
    },
    /// The runtime directory cannot be used.
    #[error("use {} as the local cloud's directory: {problem}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The problem and a hint.
        problem: String,
    },
    /// A system call failed.
    #[error("{doing}")]
    Io {
        /// The operation.
        doing: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The background process ended during its start, with this reason.
    #[error("start the local cloud: {0}")]
    Failed(String),
    /// The deadline passed; the state of the background process is unknown.
    #[error("start the local cloud: {waiting} after {} s", after.as_secs())]
    Timeout {
        /// The awaited event.
        waiting: String,
        /// The duration of the wait.
        after: Duration,
    },
}

impl Error {
    fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// The first call in `main`, before any thread: if this process was executed as a part
/// of the cloud, it runs that part and never returns.
pub fn hook(cloud_main: CloudMain) {
    HOOKED.store(true, Ordering::Relaxed);
    let Some(role) = std::env::var_os(ROLE_VAR) else {
        return;
    };
    // The caller's blocked signals are inherited, and would stay blocked.
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    let code = match role.to_str() {
        Some(ROLE_OUTER) => {
            logging::start();
            outer::run()
        }
        Some(ROLE_INNER) => {
            logging::start();
            inner::run(cloud_main)
        }
        Some(role) => match landfall_sandbox::run_role(role, crate::ssh::files::serve) {
            Some(code) => code,
            // Unknown here: a newer or older program may use it.
            None => return,
        },
        None => return,
    };
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// The command-line arguments of the outer process.
struct Arguments {
    dir: PathBuf,
    scratch_bytes: u64,
    ready_within: Duration,
}

impl Arguments {
    fn read() -> Result<Self, String> {
        let mut arguments = std::env::args_os().skip(1);
        let mut next = || {
            arguments
                .next()
                .ok_or_else(|| format!("{ROLE_VAR} is set by hand: an argument is missing"))
        };
        let dir = PathBuf::from(next()?);
        let mut number = |name: &str| {
            next()?
                .to_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| format!("{ROLE_VAR} is set by hand: {name} is not a number"))
        };
        Ok(Self {
            dir,
            scratch_bytes: number("the scratch size")?,
            ready_within: Duration::from_millis(number("the deadline")?),
        })
    }

    /// This program in another role, with these arguments.
    fn command(&self, program: &std::path::Path, role: &str) -> std::process::Command {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(program);
        command
            .arg0("landfall-cloud")
            .arg(&self.dir)
            .arg(self.scratch_bytes.to_string())
            .arg(self.ready_within.as_millis().to_string())
            .env(ROLE_VAR, role)
            .current_dir("/");
        // It outlives its caller, and must not keep the secrets of the caller's environment.
        let secrets = std::env::vars_os().map(|(name, _)| name);
        for name in secrets.filter(|name| name.as_encoded_bytes().starts_with(SECRET.as_bytes())) {
            command.env_remove(name);
        }
        command
    }
}
