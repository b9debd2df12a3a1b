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
///
/// `G` is the form of a reference to a security group: an [`Input`] in a spec, a
/// [`Key`](landfall_provider::Key) in a [topology](crate::reach::Topology).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityRule<G = Input<SecurityGroupId>> {
    /// The direction in which the connection is opened.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The destination ports; all of them for a protocol without ports.
    pub ports: PortRange,
    /// The other end.
    pub peer: Peer<G>,
    /// The rule's purpose, at most 255 characters.
    pub description: String,
}

/// The other end of allowed traffic.
///
/// `G` is the form of a reference to a security group: an [`Input`] in a spec, a
/// [`Key`](landfall_provider::Key) in a [topology](crate::reach::Topology), a name in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer<G = Input<SecurityGroupId>> {
    /// These addresses.
    Cidr(Ipv4Net),
    /// Every interface in this security group, by its private address.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html#security-group-referencing>
    Group(G),
}

impl<G> SecurityRule<G> {
    /// The same rule with another form of the reference to a group.
    pub fn map_group<H>(self, group: impl FnOnce(G) -> H) -> SecurityRule<H> {
        SecurityRule {
            direction: self.direction,
            protocol: self.protocol,
            ports: self.ports,
            peer: match self.peer {
                Peer::Cidr(net) => Peer::Cidr(net),
                Peer::Group(reference) => Peer::Group(group(reference)),
            },
            description: self.description,
        }
    }
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
