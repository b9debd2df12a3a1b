//! What runs, on AWS: on an emulator, and by answers as AWS documents them where the emulator has none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod address;
mod bed;
mod kinds;
mod refresh;
mod releases;
mod states;
mod whole;
