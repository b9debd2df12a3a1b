//! The kernel's interfaces that the parts of the local cloud share.
//!
//! **Architecture invariant:** this crate knows no other crate of the workspace. `unsafe` stands here and in the
//! sandbox's process 1 only.
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

/// How this program executes itself again, whatever has become of its file since. Never for a process that enters an
/// instance: the sandbox has a sealed copy of the program for that.
pub const SELF: &str = "/proc/self/exe";

/// The variable that says which part of the cloud this process was executed to be. It also stops a program that does
/// not call the provider's hook from starting itself for ever.
pub const ROLE_VAR: &str = "LANDFALL_ROLE";
