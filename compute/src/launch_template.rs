//! A launch template: what a new instance of a group is like.

use landfall_provider::{
    Input, InstanceProfileId, KeyPairId, Kind, LaunchTemplateId, Reference, Resource,
    SecurityGroupId, kind,
};
use serde::{Deserialize, Serialize};

use crate::workload::Workload;

/// A launch template. A change makes a new version of it, to which groups are brought by
/// [`ComputeProvider::roll`](crate::ComputeProvider::roll).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    /// The instance type, such as `t3.micro`.
    pub instance_type: String,
    /// The security groups of the instances.
    pub groups: Vec<Input<SecurityGroupId>>,
    /// What the instances may do at their cloud: pull the image, read the secrets.
    pub profile: Option<Input<InstanceProfileId>>,
    /// The key pair that opens the instances; without one nobody can log in.
    pub key: Option<Input<KeyPairId>>,
    /// What the instances run.
    pub workload: Workload,
}

/// What is known of a launch template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplateOutput {
    /// Its newest version, from 1.
    pub version: u32,
}

impl Resource for LaunchTemplate {
    const KIND: Kind = kind::LAUNCH_TEMPLATE;
    const UNORDERED: &'static [&'static str] = &["groups"];
    type Id = LaunchTemplateId;
    type Output = LaunchTemplateOutput;

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.workload.image];
        references.extend(self.groups.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(self.profile.iter_mut().map(|id| id as &mut dyn Reference));
        references.extend(self.key.iter_mut().map(|id| id as &mut dyn Reference));
        references
    }
}
