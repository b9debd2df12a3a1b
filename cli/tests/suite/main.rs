//! The real program, as a user runs it: messages, refusals, and complete deploys.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[cfg(target_os = "linux")]
mod access;
#[cfg(target_os = "linux")]
mod after_failure;
#[cfg(target_os = "linux")]
mod bad_input;
#[cfg(target_os = "linux")]
mod by_hand;
mod command_line;
#[cfg(target_os = "linux")]
mod deploy;
#[cfg(target_os = "linux")]
mod diagnosis;
#[cfg(target_os = "linux")]
mod documented;
#[cfg(target_os = "linux")]
mod engines;
#[cfg(target_os = "linux")]
mod exhaustion;
#[cfg(target_os = "linux")]
mod explain;
#[cfg(target_os = "linux")]
mod hostile_files;
#[cfg(target_os = "linux")]
mod hostile_ssh;
#[cfg(target_os = "linux")]
mod interruption;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod lost;
#[cfg(target_os = "linux")]
mod mistakes;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod releases;
#[cfg(target_os = "linux")]
mod same_image;
#[cfg(target_os = "linux")]
mod scale;
#[cfg(target_os = "linux")]
mod secrets;
#[cfg(target_os = "linux")]
mod services;
#[cfg(target_os = "linux")]
mod single;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
#[path = "../common/strike.rs"]
mod strike;
mod support;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
use support::Ran;
