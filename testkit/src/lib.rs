//! Placeholder.

#[cfg(unix)]
pub mod engines;
