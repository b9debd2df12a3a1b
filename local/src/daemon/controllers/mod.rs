//! What runs for the records, and keeps the machine as they say: containers, balancers, groups, published ports.

pub(in crate::daemon) mod balance;
pub(in crate::daemon) mod guest;
pub(in crate::daemon) mod keeper;
pub(in crate::daemon) mod kinds;
pub(in crate::daemon) mod publish;
pub(in crate::daemon) mod scaling;
pub(in crate::daemon) mod single;
mod tracking;
