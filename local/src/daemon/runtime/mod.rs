//! What runs on this machine: containers, load balancers, loopback ports and the simulated internet.
//!
//! **Invariant:** the runtime makes no decisions; the `controllers` do.

pub(in crate::daemon) mod balancer;
pub(in crate::daemon) mod cloud;
pub(in crate::daemon) mod container;
mod internet;
mod lock;
pub(in crate::daemon) mod loopback;
