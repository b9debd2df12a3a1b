//! Instances: container images unpacked, run in sandboxes and watched.
//!
//! [`unpack()`] turns an image in an OCI layout into a folder of files, once for each digest.
//! [`start`] runs its command in namespaces of its own; the sandbox itself is built by
//! `sys::sandbox`, inside the new process.

mod carry;
mod census;
mod config;
mod disposition;
mod enter;
mod layer;
mod limits;
mod listening;
mod output;
mod run;
mod spawn;
mod unpack;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

pub use crate::sys::sandbox::enter::Size;
pub(crate) use carry::{Feed, pump, shell_code};
pub use config::Config;
pub use enter::{Entered, Further, Handle, enter};
pub use limits::Limiter;
pub use listening::{Listening, instead, listening};
pub use output::{Line, Output, Stream};
pub use run::{Exit, Running, Spec, start};
pub use unpack::{Image, unpack};
pub use usage::processor_times;

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
