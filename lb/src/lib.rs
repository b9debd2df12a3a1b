//! Application load balancers, target groups and listeners, as specs that any provider can
//! implement, and the health of their targets.
//!
//! Each kind has its own file, and depends on no cloud.
//!
//! # Features
//!
//! - `aws`: the AWS implementation of these kinds; `landfall_aws::Aws` is then an [`LbProvider`].

#[cfg(feature = "aws")]
pub mod aws;
mod health;
mod listener;
mod listener_rule;
mod load_balancer;
mod provider;
mod target_group;

pub use health::{HealthReason, TargetHealth, TargetState};
pub use listener::{Action, Listener, ListenerOutput};
pub use listener_rule::{Condition, ListenerRule};
pub use load_balancer::{LoadBalancer, LoadBalancerOutput};
pub use provider::{LbProvider, kinds};
pub use target_group::{HealthCheck, TargetGroup};
