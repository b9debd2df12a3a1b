//! Repositories and images on AWS: on an emulator, and by answers as AWS and its registry document them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod push;
#[cfg(unix)]
mod registry;
mod repository;
