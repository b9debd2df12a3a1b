//! Access to a stack's instances by the system's ssh: its configuration, host keys and the
//! operator's own key.

pub(crate) mod config;
pub(crate) mod folder;
pub(crate) mod keys;
#[cfg(any(feature = "aws", test))]
pub(crate) mod remote;
