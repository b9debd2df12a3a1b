//! A network ACL: what may cross the border of a subnet, packet by packet, without memory.

use ipnet::Ipv4Net;
use landfall_provider::{Input, Kind, NetworkAclId, Reference, Resource, SubnetId, VpcId, kind};
use serde::{Deserialize, Serialize};

use crate::traffic::{Direction, PortRange, Protocol};

/// A network ACL with its entries and the subnets that it guards. What no entry matches is denied.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// The VPC that it belongs to.
    pub vpc: Input<VpcId>,
    /// The entries. The lowest number that matches decides.
    pub entries: Vec<AclEntry>,
    /// The subnets that it is associated with.
    pub subnets: Vec<Input<SubnetId>>,
}

/// One entry of a network ACL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// Its place in the order, 1–32766, unique per direction.
    pub number: u16,
    /// Which way the packet goes.
    pub direction: Direction,
    /// What happens to it.
    pub action: AclAction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The ports that it goes to; all of them for a protocol without ports.
    pub ports: PortRange,
    /// Where it comes from (in) or goes to (out).
    pub cidr: Ipv4Net,
}

/// What an entry does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AclAction {
    /// Lets it through.
    Allow,
    /// Drops it.
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
