//! The kernel interfaces that the parts of the local cloud share.
//!
//! **Architecture invariant:** this crate depends on no other crate of the workspace. Only this crate and process 1
//! of the sandbox contain `unsafe`.
#![cfg(target_os = "linux")]

pub mod accept;
pub mod background;
pub mod cgroup;
pub mod descriptors;
pub mod fds;
mod log;
pub mod memory;
pub mod netns;
pub mod oom;
pub mod rooted;
pub mod signal;
#[doc(hidden)]
pub mod testing;
pub mod userns;

pub use log::log;

/// The path by which this program executes itself again, even if its file was replaced or deleted. Never for a
/// process that enters an instance: the sandbox has a sealed copy of the program for that.
pub const SELF: &str = "/proc/self/exe";

/// The variable with the role of this process in the cloud. It also prevents endless restarts by a program that does
/// not call the provider's hook.
pub const ROLE_VAR: &str = "LANDFALL_ROLE";
