//! Controllers: each compares the records with what runs, and changes what runs.

pub(in crate::daemon) mod autoscaling_group;
pub(in crate::daemon) mod hooks;
pub(in crate::daemon) mod instance;
mod launch_template;
mod lifecycle;
mod listener;
mod listener_rule;
pub(in crate::daemon) mod load_balancer;
pub(in crate::daemon) mod scaling_policy;
mod target_group;
mod tracking;
