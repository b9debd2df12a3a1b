//! Repositories and images on AWS: on an emulator, and with answers from the documentation of AWS
//! and its registry.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod push;
#[cfg(unix)]
mod registry;
mod repository;
