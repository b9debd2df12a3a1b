//! How the system's ssh gets to a stack's instances: its configuration, host keys and the operator's own key.

pub(crate) mod config;
pub(crate) mod folder;
pub(crate) mod keys;
#[cfg(any(feature = "aws", test))]
pub(crate) mod remote;
