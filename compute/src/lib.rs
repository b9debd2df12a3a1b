//! Compute: launch templates, autoscaling groups, scaling policies and single instances, with their
//! key pairs and instance profiles, as specs that any provider can implement.
//!
//! Each kind has its own file. Nothing here depends on a cloud, except the code behind the feature
//! `aws`.
//!
//! # Features
//!
//! - `aws`: `impl ComputeProvider for Aws`, and the [check](aws::check) of a plan.

mod autoscaling_group;
#[cfg(feature = "aws")]
pub mod aws;
pub mod boot;
mod host_key;
mod instance;
mod instance_profile;
mod key_pair;
mod launch_template;
mod limits;
mod log_group;
mod provider;
mod release;
mod scaling_policy;
mod secret;
mod single;
mod workload;

pub use autoscaling_group::{AutoscalingGroup, AutoscalingGroupOutput};
pub use host_key::{HostKey, InvalidHostKey};
pub use instance::{Instance, InstanceOutput};
pub use instance_profile::{InstanceProfile, PolicyScope};
pub use key_pair::{InvalidPublicKey, KeyPair, PublicKey};
pub use launch_template::{LaunchTemplate, LaunchTemplateOutput};
pub use limits::{ByteSize, CpuShare, InvalidLimit, Limits};
pub use log_group::LogGroup;
pub use provider::{ComputeProvider, GroupCapacity, GroupInstance, InstanceState, Scaling, kinds};
pub use release::{Release, ReleaseNote, ReleaseState};
pub use scaling_policy::{Metric, ScalingPolicy};
pub use secret::{SecretReference, SecretStore};
pub use single::{SingleInstance, SingleInstanceState, SingleProvider};
pub use workload::Workload;
