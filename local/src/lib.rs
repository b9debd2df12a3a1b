//! An embedded cloud: every Landfall resource on one Linux machine, with real packets.
//!
//! [`Local`] is the provider. Its verbs are calls to a background process, which is the calling program
//! itself, executed again: its `main` begins with [`hook`]. `docs/local.md` says what that process
//! makes and where; on other systems everything compiles and [`Local::open`] says that it needs Linux.

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

/// The address by which this machine is seen from inside the local cloud: it enters from a host on the internet.
pub const OPERATOR: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 250);

/// What the integration tests of this crate use of its inside; no interface for anybody else.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod testing {
    /// The background process.
    pub mod process {
        pub use crate::process::*;
    }
}

/// To be called first thing in `main`, before any thread, by every program that uses the local
/// provider: the background process is the program itself, executed again. In that process this
/// does not return.
#[cfg(target_os = "linux")]
pub fn hook() {
    process::hook(daemon::main);
}

/// Does nothing: the local provider needs Linux.
#[cfg(not(target_os = "linux"))]
pub fn hook() {}
