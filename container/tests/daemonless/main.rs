//! The daemonless builder, from a context on disk to the bytes in the store.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

mod check;
mod choice;
mod context;
mod copy;
mod corpus;
mod errors;
mod fuzz;
mod hostile_layouts;
mod identity;
mod instructions;
mod layout;
#[cfg(all(feature = "engine", target_os = "linux"))]
mod oracle;
#[cfg(feature = "registry")]
mod registry;
mod stages;
mod store;
mod support;
