//! What the cloud holds: one table per kind, and what follows from the records alone.
//!
//! **Invariant:** nothing here runs, waits or knows what does: `controllers` and `control` stand above.

mod addresses;
pub(crate) mod group;
pub(crate) mod kinds;
pub(crate) mod machine;
pub(crate) mod rollout;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod topology;
