//! Compute on AWS: on an emulator, and with answers from AWS's documentation where the emulator has
//! gaps.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod address;
mod bed;
mod kinds;
mod refresh;
mod releases;
mod states;
mod whole;
