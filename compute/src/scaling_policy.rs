//! A scaling policy: what makes an autoscaling group grow and shrink.

use landfall_provider::{
    AutoscalingGroupId, Input, Kind, Reference, Resource, ScalingPolicyId, kind,
};
use serde::{Deserialize, Serialize};

/// A target-tracking policy: the group's size follows the metric.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    /// The group that it scales.
    pub group: Input<AutoscalingGroupId>,
    /// What it tracks.
    pub metric: Metric,
}

/// What a policy keeps near a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The average processor use of the group's instances, in percent: 1–100.
    Cpu(u8),
    /// Requests per target and minute.
    RequestsPerTarget(u32),
}

impl Resource for ScalingPolicy {
    const KIND: Kind = kind::SCALING_POLICY;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["group"];
    type Id = ScalingPolicyId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.group]
    }
}
