//! Instances: container images unpacked, run in sandboxes and watched.
//!
//! [`unpack()`] turns an image in an OCI layout into a folder of files, once for each digest.
//! [`start`] runs its command in namespaces of its own; the sandbox itself is built by
//! `init`, inside the new process.
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

/// Becomes the process that this program was executed to be, if the role (see [`landfall_kernel::ROLE_VAR`]) is one of
/// the sandbox; gives its exit code at the end. To be called before any thread exists.
///
/// `serve_files` serves the files of the instance that this process is in, by SFTP over standard input and output.
pub fn run_role(role: &str, serve_files: fn() -> i32) -> Option<ExitCode> {
    match role {
        ROLE_INSTANCE => Some(init::run()),
        ROLE_ENTER => Some(init::enter::run(serve_files)),
        _ => None,
    }
}

/// Copies this program to where no instance can change it. The copy is what enters instances.
///
/// `at` is a folder to mount over, in a mount namespace of the cloud's own.
///
/// # Errors
///
/// What could not be done, and why.
pub fn copy_program(at: &Path) -> Result<(), String> {
    init::program::copy(at)
}

/// Why an instance could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image cannot be run as it is.
    #[error("image {image}: {problem}")]
    Image {
        /// The image's digest or name.
        image: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The image's files could not be unpacked.
    #[error("unpack image {image}: {doing}")]
    Unpack {
        /// The image's digest.
        image: String,
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The instance's process could not be made.
    #[error("start instance {id}: {doing}")]
    Process {
        /// The instance.
        id: String,
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The instance's first process gave up before the command ran. Nothing is left of it.
    #[error("start instance {id}: {reason}")]
    Sandbox {
        /// The instance.
        id: String,
        /// What it was doing, and why that failed.
        reason: String,
    },
    /// The instance's first process said nothing; it was killed.
    #[error("start instance {id}: its first process did not answer within {} s", after.as_secs())]
    Timeout {
        /// The instance.
        id: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Something that the caller gave cannot be.
    #[error("start instance {id}: {problem}")]
    Invalid {
        /// The instance.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// The folder of the instance's own files is taken.
    #[error("start instance {id}: {} exists already", path.display())]
    Exists {
        /// The instance.
        id: String,
        /// The folder.
        path: PathBuf,
    },
}
