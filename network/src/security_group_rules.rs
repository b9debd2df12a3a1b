//! All rules of one security group.

use ipnet::Ipv4Net;
use landfall_provider::{
    Input, Kind, Reference, Resource, SecurityGroupId, SecurityGroupRulesId, kind,
};
use serde::{Deserialize, Serialize};

use crate::traffic::{Direction, PortRange, Protocol};

/// The rules of a security group, all of them: what is not listed is not allowed.
///
/// They are stateful: answers to what was let through come through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRules {
    /// The group.
    pub group: Input<SecurityGroupId>,
    /// Its rules; their order says nothing.
    pub rules: Vec<SecurityRule>,
}

/// One rule: it can only allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityRule {
    /// Which way the connection is opened.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The ports that it goes to; all of them for a protocol without ports.
    pub ports: PortRange,
    /// Who is at the other end.
    pub peer: Peer,
    /// What the rule is for, at most 255 characters.
    pub description: String,
}

/// The other end of what a rule allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// These addresses.
    Cidr(Ipv4Net),
    /// Every interface in this security group, by its private address.
    Group(Input<SecurityGroupId>),
}

impl Resource for SecurityGroupRules {
    const KIND: Kind = kind::SECURITY_GROUP_RULES;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["group"];
    const UNORDERED: &'static [&'static str] = &["rules"];
    type Id = SecurityGroupRulesId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.group];
        for rule in &mut self.rules {
            if let Peer::Group(id) = &mut rule.peer {
                references.push(id);
            }
        }
        references
    }
}
