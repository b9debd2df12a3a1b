//! A scaling policy: what makes an autoscaling group grow and shrink.

use landfall_provider::{
    AutoscalingGroupId, Input, Kind, LoadBalancerId, Reference, Resource, ScalingPolicyId,
    TargetGroupId, kind,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The average processor use of the group's instances, in percent: 1–100.
    Cpu(u8),
    /// Requests per target and minute, of those that a balancer sends to a target group: the group's own, which a
    /// listener of the balancer leads to.
    RequestsPerTarget {
        /// How many.
        requests: u32,
        /// The balancer that counts them.
        balancer: Input<LoadBalancerId>,
        /// The target group that they go to.
        target_group: Input<TargetGroupId>,
    },
}

impl Resource for ScalingPolicy {
    const KIND: Kind = kind::SCALING_POLICY;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["group"];
    // Requests are counted only where a listener leads from the balancer to the target group.
    const AFTER: &'static [Kind] = &[kind::LISTENER];
    type Id = ScalingPolicyId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.group];
        if let Metric::RequestsPerTarget {
            balancer,
            target_group,
            ..
        } = &mut self.metric
        {
            references.push(balancer);
            references.push(target_group);
        }
        references
    }
}
