//! A scaling policy: the rule that changes the size of an autoscaling group.

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
    /// The scaled group.
    pub group: Input<AutoscalingGroupId>,
    /// The tracked metric.
    pub metric: Metric,
}

/// A metric that a policy keeps near a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The average CPU utilisation of the group's instances, in percent: 1–100.
    Cpu(u8),
    /// Requests per target and minute that a balancer sends to a target group: a target group of
    /// the scaled group, used by a listener of the balancer.
    RequestsPerTarget {
        /// The number of requests.
        requests: u32,
        /// The balancer that counts them.
        balancer: Input<LoadBalancerId>,
        /// The target group of the requests.
        target_group: Input<TargetGroupId>,
    },
}

impl Resource for ScalingPolicy {
    const KIND: Kind = kind::SCALING_POLICY;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["group"];
    // Requests are counted only if a listener of the balancer uses the target group.
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
