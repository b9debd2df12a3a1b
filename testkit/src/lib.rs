//! What tests need: a provider in virtual time, and container engines to build with. Never published.

#[cfg(unix)]
pub mod engines;
pub mod sim;
