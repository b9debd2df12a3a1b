//! The records of the cloud: one table per kind, and pure functions of them.
//!
//! **Invariant:** nothing here waits, does I/O, or knows a higher layer.

mod addresses;
pub(crate) mod group;
pub(crate) mod kinds;
pub(crate) mod machine;
pub(crate) mod rollout;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod topology;
