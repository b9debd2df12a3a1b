//! All rules of one security group.

use ipnet::Ipv4Net;
use landfall_provider::{
    Input, Kind, Reference, Resource, SecurityGroupId, SecurityGroupRulesId, kind,
};
use serde::{Deserialize, Serialize};

use crate::traffic::{Direction, PortRange, Protocol};

/// The complete set of rules of a security group: traffic without a rule is not allowed.
///
/// Rules are stateful: answers to allowed traffic are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRules {
    /// The group.
    pub group: Input<SecurityGroupId>,
    /// Its rules; their order has no meaning.
    pub rules: Vec<SecurityRule>,
}

/// One rule. Rules can only allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityRule {
    /// The direction in which the connection is opened.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The destination ports; all of them for a protocol without ports.
    pub ports: PortRange,
    /// The other end.
    pub peer: Peer,
    /// The rule's purpose, at most 255 characters.
    pub description: String,
}

/// The other end of allowed traffic.
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
