//! Load balancers on AWS: on an emulator, and with answers from AWS's documentation where the
//! emulator has gaps.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod kinds;
mod states;
