//! A security group: a set of network interfaces that share rules.

use std::time::Duration;

use landfall_provider::{Input, Kind, Reference, Resource, SecurityGroupId, VpcId, kind};
use serde::{Deserialize, Serialize};

use crate::FREED_WITHIN;

/// A security group without rules: the rules are a separate [kind](crate::SecurityGroupRules),
/// because groups refer to each other.
///
/// Without rules it allows nothing in either direction: a provider removes the allow-all outbound
/// rule that AWS adds to a new group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its VPC.
    pub vpc: Input<VpcId>,
    /// Its purpose, at most 255 characters.
    pub description: String,
}

impl Resource for SecurityGroup {
    const KIND: Kind = kind::SECURITY_GROUP;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc", "description"];
    const DELETE_TIMEOUT: Duration = FREED_WITHIN;
    type Id = SecurityGroupId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.vpc]
    }
}
