//! A network ACL: a stateless packet filter at the border of a subnet.

use ipnet::Ipv4Net;
use landfall_provider::{Input, Kind, NetworkAclId, Reference, Resource, SubnetId, VpcId, kind};
use serde::{Deserialize, Serialize};

use crate::traffic::{Direction, PortRange, Protocol};

/// A network ACL with its entries and its subnets. A packet that matches no entry is denied.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// Its VPC.
    pub vpc: Input<VpcId>,
    /// The entries. The lowest number that matches wins.
    pub entries: Vec<AclEntry>,
    /// The associated subnets.
    pub subnets: Vec<Input<SubnetId>>,
}

/// One entry of a network ACL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// Its priority, 1–32766, unique per direction.
    pub number: u16,
    /// The direction of the packet.
    pub direction: Direction,
    /// The action.
    pub action: AclAction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The destination ports; all of them for a protocol without ports.
    pub ports: PortRange,
    /// The source (ingress) or the destination (egress).
    pub cidr: Ipv4Net,
}

/// The action of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AclAction {
    /// Lets the packet through.
    Allow,
    /// Drops the packet.
    Deny,
}

impl Resource for NetworkAcl {
    const KIND: Kind = kind::NETWORK_ACL;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc"];
    const UNORDERED: &'static [&'static str] = &["entries", "subnets"];
    type Id = NetworkAclId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.vpc];
        references.extend(self.subnets.iter_mut().map(|id| id as &mut dyn Reference));
        references
    }
}
