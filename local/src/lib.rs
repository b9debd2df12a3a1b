//! The local provider: every Landfall resource on one Linux machine, with real packets.
//!
//! [`Local`] is the provider. Its operations are calls to a background process: the calling program
//! itself, executed again, whose `main` begins with [`hook`]. `docs/local.md` describes what that process
//! creates. On other systems the crate compiles, and [`Local::open`] returns an error.

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod daemon;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(
    target_os = "linux",
    expect(unreachable_pub, dead_code, reason = "here it is only checked")
)]
mod elsewhere;
#[cfg(target_os = "linux")]
mod frames;
#[cfg(all(test, target_os = "linux"))]
mod fuzz_tests;
mod inside;
mod options;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod secrets;
#[cfg(all(target_os = "linux", feature = "ssh"))]
mod ssh;
#[cfg(all(target_os = "linux", not(feature = "ssh")))]
#[path = "ssh/absent.rs"]
mod ssh;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
pub use client::{Dialled, ExecInput, ExecOutput, Local, Logs};
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Dialled, ExecInput, ExecOutput, Local, Logs};
pub use inside::{ExecEvent, LogLine, Reached, TerminalKind};
pub use options::LocalOptions;
#[cfg(target_os = "linux")]
pub use wire::Vantage;

/// The address of this machine inside the local cloud: a host on the simulated internet.
pub const OPERATOR: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 250);

/// Internals for the integration tests of this crate; not a public interface.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod testing {
    /// The background process.
    pub mod process {
        pub use crate::process::*;
    }
}

/// The first call in `main`, before any thread starts, of every program that uses the local
/// provider. The background process is the program itself, executed again; in that process this
/// function does not return.
#[cfg(target_os = "linux")]
pub fn hook() {
    process::hook(daemon::main);
}

/// Does nothing: the local provider needs Linux.
#[cfg(not(target_os = "linux"))]
pub fn hook() {}
