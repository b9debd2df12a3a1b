//! An autoscaling group: a number of instances, spread over zones, replaced when they fail.

use std::time::Duration;

use landfall_provider::{
    AutoscalingGroupId, DataLoss, Gate, Input, Kind, LaunchTemplateId, Reference, Resource,
    SubnetId, TargetGroupId, kind,
};
use serde::{Deserialize, Serialize};

/// An autoscaling group.
///
/// It is created with the newest version of its template, and moves to a later version by
/// [`ComputeProvider::roll`](crate::ComputeProvider::roll). An instance is replaced when it has
/// stopped, or when a target group of the group reports it unhealthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoscalingGroup {
    /// The launch template of its instances.
    pub template: Input<LaunchTemplateId>,
    /// The subnets of its instances, which are spread evenly.
    pub subnets: Vec<Input<SubnetId>>,
    /// The minimum number of instances for scaling.
    pub min: u32,
    /// The desired number of instances. Scaling may change the actual number without changing this
    /// field.
    pub desired: u32,
    /// The maximum number of instances for scaling.
    pub max: u32,
    /// The target groups that its instances are registered with.
    pub target_groups: Vec<Input<TargetGroupId>>,
    /// The time in seconds after its launch in which an unhealthy instance is not replaced.
    pub health_check_grace_period: u32,
}

/// The output of a group whose instances run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoscalingGroupOutput {
    /// The lowest template version among its instances; 0 when one runs another template.
    pub version: u32,
}

impl Resource for AutoscalingGroup {
    const KIND: Kind = kind::AUTOSCALING_GROUP;
    const UNORDERED: &'static [&'static str] = &["subnets", "target_groups"];
    // A scaling policy can be attached to a group without instances.
    const GATE: Gate = Gate::Exists;
    const CREATE_TIMEOUT: Duration = Duration::from_secs(900);
    // Its instances finish their requests first, for which a target group may allow an hour.
    const DELETE_TIMEOUT: Duration = Duration::from_secs(3600 + 900);
    const DATA_LOSS: DataLoss = DataLoss::Words("its instances, which answer requests");
    const TYPICAL_CREATE_TIME: Duration = Duration::from_secs(40);
    type Id = AutoscalingGroupId;
    type Output = AutoscalingGroupOutput;

    /// If all subnets and target groups change, the group moves to another VPC, and its instances
    /// cannot follow.
    fn requires_replacement(current: &Self, desired: &Self) -> bool {
        let shares_subnet = current
            .subnets
            .iter()
            .any(|id| desired.subnets.contains(id));
        let targets = &current.target_groups;
        let shares_targets = targets.iter().any(|id| desired.target_groups.contains(id));
        !shares_subnet && !shares_targets
    }

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.template];
        references.extend(self.subnets.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(
            self.target_groups
                .iter_mut()
                .map(|id| id as &mut dyn Reference),
        );
        references
    }
}
