//! Instances: unpacked container images that run in sandboxes.
//!
//! [`unpack()`] unpacks an image of an OCI layout to a folder, once for each digest. [`start`] runs its command in
//! its own namespaces; `init` builds the sandbox inside the new process.
#![cfg(target_os = "linux")]

mod carry;
mod census;
mod config;
mod disposition;
mod enter;
mod init;
mod layer;
mod limits;
mod listening;
mod output;
mod run;
mod spawn;
mod spec;
mod unpack;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

pub use carry::{Feed, pump, shell_code};
pub use config::Config;
pub use enter::{Entered, Further, Handle, enter};
pub use init::enter::Size;
pub use limits::Limiter;
pub use listening::{Listening, instead, listening};
pub use output::{Output, OutputLine, Stream};
pub use run::{Exit, Running, start};
pub use spec::Spec;
pub use unpack::{Image, unpack};
pub use usage::processor_times;

/// The role of an instance's first process.
const ROLE_INSTANCE: &str = "instance";
/// The role of a process that runs a further command in an instance.
const ROLE_ENTER: &str = "enter";

/// Runs the role of this process if it is one of the sandbox (see [`landfall_kernel::ROLE_VAR`]), and returns its
/// exit code. Must be called before any thread exists.
///
/// `serve_files` serves the files of this process's instance over standard input and output, with SFTP.
pub fn run_role(role: &str, serve_files: fn() -> i32) -> Option<ExitCode> {
    match role {
        ROLE_INSTANCE => Some(init::run()),
        ROLE_ENTER => Some(init::enter::run(serve_files)),
        _ => None,
    }
}

/// Copies this program to a place that no instance can change. Processes that enter instances run the copy.
///
/// `at` is a folder to mount over, in the cloud's own mount namespace.
///
/// # Errors
///
/// The failed step, and the reason.
pub fn copy_program(at: &Path) -> Result<(), String> {
    init::program::copy(at)
}

/// An instance could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot run.
    #[error("image {image}: {problem}")]
    Image {
        /// The image's digest or name.
        image: String,
        /// The problem, and the remedy.
        problem: String,
    },
    /// The image's files could not be unpacked.
    #[error("unpack image {image}: {doing}")]
    Unpack {
        /// The image's digest.
        image: String,
        /// The failed step.
        doing: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The instance's process could not be started.
    #[error("start instance {id}: {doing}")]
    Process {
        /// The instance.
        id: String,
        /// The failed step.
        doing: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The instance's first process failed before the command ran. Nothing is left of the instance.
    #[error("start instance {id}: {reason}")]
    Sandbox {
        /// The instance.
        id: String,
        /// The failed step, and the reason.
        reason: String,
    },
    /// The instance's first process did not respond in time, and was killed.
    #[error("start instance {id}: its first process did not answer within {} s", after.as_secs())]
    Timeout {
        /// The instance.
        id: String,
        /// The time limit.
        after: Duration,
    },
    /// The caller's specification is invalid.
    #[error("start instance {id}: {problem}")]
    Invalid {
        /// The instance.
        id: String,
        /// The problem.
        problem: String,
    },
    /// The folder of the instance's own files already exists.
    #[error("start instance {id}: {} exists already", path.display())]
    Exists {
        /// The instance.
        id: String,
        /// The folder.
        path: PathBuf,
    },
}
