//! A launch template: the settings of a group's new instances.

use landfall_provider::{
    Input, InstanceProfileId, KeyPairId, Kind, LaunchTemplateId, Reference, Resource,
    SecurityGroupId, kind,
};
use serde::{Deserialize, Serialize};

use crate::workload::Workload;

/// A launch template. A change creates a new version, and
/// [`ComputeProvider::roll`](crate::ComputeProvider::roll) moves groups to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    /// The instance type, such as `t3.micro`.
    pub instance_type: String,
    /// The security groups of the instances.
    pub groups: Vec<Input<SecurityGroupId>>,
    /// The permissions of the instances at their cloud: pull the image, read the secrets.
    pub profile: Option<Input<InstanceProfileId>>,
    /// The key pair of the instances; without one nobody can log in.
    pub key: Option<Input<KeyPairId>>,
    /// The workload of the instances.
    pub workload: Workload,
}

/// The output of a launch template.
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
