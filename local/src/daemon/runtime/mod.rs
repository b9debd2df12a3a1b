//! What runs on this machine for the records: containers, loopback ports, the simulated internet.
//!
//! **Invariant:** nothing here decides what should run: the `controllers` do.

pub(in crate::daemon) mod balancer;
pub(in crate::daemon) mod cloud;
pub(in crate::daemon) mod container;
mod internet;
mod lock;
pub(in crate::daemon) mod loopback;
