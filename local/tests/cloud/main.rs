//! The embedded cloud as a provider: real instances, real packets, one cloud for each test.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

mod balancers;
mod bed;
mod endings;
mod listeners;
mod neighbours;
mod network;
mod rollouts;
mod service;
