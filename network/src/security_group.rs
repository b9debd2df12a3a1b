//! A security group: a set of network interfaces that share rules.

use landfall_provider::{Input, Kind, Reference, Resource, SecurityGroupId, VpcId, kind};
use serde::{Deserialize, Serialize};

/// A security group without rules: its rules are a [kind of their own](crate::SecurityGroupRules),
/// because groups refer to each other.
///
/// Without rules nothing goes in and nothing goes out: a provider takes away the rule that lets
/// everything out, which AWS adds to a new group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// The VPC that it belongs to.
    pub vpc: Input<VpcId>,
    /// What it is for, at most 255 characters.
    pub description: String,
}

impl Resource for SecurityGroup {
    const KIND: Kind = kind::SECURITY_GROUP;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc", "description"];
    type Id = SecurityGroupId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.vpc]
    }
}
