//! A target group: where a balancer sends requests, and how it knows who can take them.

use landfall_provider::{Input, Kind, Port, Reference, Resource, TargetGroupId, VpcId, kind};
use serde::{Deserialize, Serialize};

/// A target group of instances that speak HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// The VPC of its targets.
    pub vpc: Input<VpcId>,
    /// The port that targets are asked on.
    pub port: Port,
    /// How a target's health is found out.
    pub health_check: HealthCheck,
    /// For how many seconds a target that leaves may finish what it has begun: 0–3600.
    pub deregistration_delay: u32,
}

/// How a target's health is found out: by asking for a path on the target group's port.
///
/// A target is healthy after its first good answer; one that was unhealthy needs
/// `healthy_threshold` of them.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked for, starting with a slash, at most 1024 characters.
    pub path: String,
    /// Seconds between two checks: 5–300.
    pub interval: u32,
    /// Seconds until a missing answer is a failure: 2–120, and less than the interval.
    pub timeout: u32,
    /// Good answers in a row until an unhealthy target is healthy again: 2–10.
    pub healthy_threshold: u32,
    /// Failures in a row until a target is unhealthy: 2–10.
    pub unhealthy_threshold: u32,
    /// The status codes of a good answer: `200`, `200,302`, `200-299`.
    pub matcher: String,
}

impl Resource for TargetGroup {
    const KIND: Kind = kind::TARGET_GROUP;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc", "port"];
    type Id = TargetGroupId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.vpc]
    }
}
