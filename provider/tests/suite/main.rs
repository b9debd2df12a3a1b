//! The planner and the engine, from outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apply;
mod bad;
mod conformance;
mod crash;
mod logging;
mod planning;
mod random;
mod things;
