//! What runs: launch templates, autoscaling groups, scaling policies and single instances, as specs
//! that any provider can hold.
//!
//! Each kind stands in a file of its own. Nothing here talks to a cloud.

mod autoscaling_group;
mod instance;
mod launch_template;
mod provider;
mod scaling_policy;
mod workload;

pub use autoscaling_group::AutoscalingGroup;
pub use instance::{Instance, InstanceOutput};
pub use launch_template::LaunchTemplate;
pub use provider::{ComputeProvider, GroupInstance, InstanceState, kinds};
pub use scaling_policy::{Metric, ScalingPolicy};
pub use workload::Workload;
