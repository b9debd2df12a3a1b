//! An autoscaling group: so many instances, spread over zones, replaced when they fail.

use std::time::Duration;

use landfall_provider::{
    AutoscalingGroupId, DataLoss, Gate, Input, Kind, LaunchTemplateId, Reference, Resource,
    SubnetId, TargetGroupId, kind,
};
use serde::{Deserialize, Serialize};

/// An autoscaling group.
///
/// It is made with the newest version of its template, and follows a change of it by
/// [`ComputeProvider::roll`](crate::ComputeProvider::roll).
/// An instance is replaced when it has stopped, or when a target group of the group finds it unhealthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoscalingGroup {
    /// What its instances are like.
    pub template: Input<LaunchTemplateId>,
    /// The subnets that its instances stand in, spread evenly.
    pub subnets: Vec<Input<SubnetId>>,
    /// The fewest instances that scaling leaves.
    pub min: u32,
    /// How many instances there are to be now. Scaling may make it more or fewer without changing this wish.
    pub desired: u32,
    /// The most instances that scaling makes.
    pub max: u32,
    /// The target groups that its instances are registered with.
    pub target_groups: Vec<Input<TargetGroupId>>,
    /// For how many seconds after its launch an instance may be unhealthy without being replaced.
    pub health_check_grace_period: u32,
}

/// What is known of a group whose instances run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoscalingGroupOutput {
    /// The lowest version of its template that one of its instances runs; 0 when one runs another template.
    pub version: u32,
}

impl Resource for AutoscalingGroup {
    const KIND: Kind = kind::AUTOSCALING_GROUP;
    const UNORDERED: &'static [&'static str] = &["subnets", "target_groups"];
    // A scaling policy can be put on a group that has no instances yet.
    const GATE: Gate = Gate::Exists;
    const CREATE_TIMEOUT: Duration = Duration::from_secs(900);
    // Its instances finish what they are at first, for which a target group may give them an hour.
    const DELETE_TIMEOUT: Duration = Duration::from_secs(3600 + 900);
    const DATA_LOSS: DataLoss = DataLoss::Words("its instances, which answer requests");
    const TYPICAL_CREATE_TIME: Duration = Duration::from_secs(40);
    type Id = AutoscalingGroupId;
    type Output = AutoscalingGroupOutput;

    /// A group whose subnets and target groups are all others is to stand in another VPC, and its instances cannot
    /// follow it there.
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
