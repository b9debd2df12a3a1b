//! A target group: the targets of a balancer, and the health check that selects among them.

use landfall_provider::{Input, Kind, Port, Reference, Resource, TargetGroupId, VpcId, kind};
use serde::{Deserialize, Serialize};

/// A target group of instances that speak HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// The VPC of its targets.
    pub vpc: Input<VpcId>,
    /// The port of its targets.
    pub port: Port,
    /// The health check of its targets.
    pub health_check: HealthCheck,
    /// The time in seconds that a deregistered target has to finish its requests: 0–3600.
    pub deregistration_delay: u32,
}

/// The health check of a target: a request for a path on the target group's port.
///
/// A new target is healthy after its first successful check; an unhealthy one needs
/// `healthy_threshold` of them.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The requested path, with a leading slash, at most 1024 characters.
    pub path: String,
    /// Seconds between two checks: 5–300.
    pub interval: u32,
    /// The timeout of a check in seconds: 2–120, and less than the interval.
    pub timeout: u32,
    /// The number of successful checks in a row after which an unhealthy target is healthy: 2–10.
    pub healthy_threshold: u32,
    /// The number of failed checks in a row after which a target is unhealthy: 2–10.
    pub unhealthy_threshold: u32,
    /// The status codes of a success: `200`, `200,302`, `200-299`.
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
