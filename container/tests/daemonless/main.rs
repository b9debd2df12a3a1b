//! The daemonless builder, from a context on disk to the bytes in the store.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

mod choice;
mod copy;
mod errors;
mod identity;
mod instructions;
#[cfg(feature = "registry")]
mod registry;
mod stages;
mod store;
mod support;
