//! What the network should be: plain data with every id and address known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::PortRange;
use landfall_provider::{
    NatGatewayId, NetworkAclId, RouteTableId, SecurityGroupId, SubnetId, VpcId,
};
use serde::{Deserialize, Serialize};

/// Addresses at the beginning of every subnet that AWS keeps for itself; the last is the fifth.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>. The fabric counts on it: links that lead out of a VPC have the numbers that these leave free.
const RESERVED: u32 = 4;

/// The id of a network interface: `eni-…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InterfaceId(String);

impl From<String> for InterfaceId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for InterfaceId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Everything that the fabric holds.
///
/// An id that something refers to has to be here; [`Fabric::apply`](super::Fabric::apply) refuses
/// a topology of which that is not true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Addresses of hosts on the internet, which are sockets in its namespace.
    pub internet_hosts: BTreeSet<Ipv4Addr>,
    /// VPCs. Two may have the same addresses; they do not see each other.
    pub vpcs: BTreeMap<VpcId, Vpc>,
    /// Subnets of the VPCs.
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// Route tables that subnets name.
    pub route_tables: BTreeMap<RouteTableId, RouteTable>,
    /// Network ACLs that subnets name.
    pub network_acls: BTreeMap<NetworkAclId, NetworkAcl>,
    /// Security groups that interfaces name.
    pub security_groups: BTreeMap<SecurityGroupId, SecurityGroup>,
    /// NAT gateways.
    pub nat_gateways: BTreeMap<NatGatewayId, NatGateway>,
    /// Network interfaces: of instances, balancer nodes, bastions.
    pub interfaces: BTreeMap<InterfaceId, Interface>,
}

/// A VPC: a router with a link to each interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its addresses, a /16 at most.
    pub cidr: Ipv4Net,
    /// Whether an internet gateway is attached.
    pub internet_gateway: bool,
}

/// A subnet of a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The VPC it is in.
    pub vpc: VpcId,
    /// Its addresses, a /28 at least.
    pub cidr: Ipv4Net,
    /// Its route table; without one it reaches the VPC and nothing else.
    pub route_table: Option<RouteTableId>,
    /// Its network ACL; without one everything passes its border, as with a VPC's default ACL.
    pub network_acl: Option<NetworkAclId>,
}

/// A route table. The route to the VPC itself is in each and is not written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Targets by destination; the longest prefix wins. What is in none vanishes.
    pub routes: BTreeMap<Ipv4Net, NextHop>,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextHop {
    /// The VPC's internet gateway: a black hole if none is attached.
    InternetGateway,
    /// A NAT gateway: a black hole if it is not there any more.
    NatGateway(NatGatewayId),
    /// A gateway endpoint, which leads to the service with the private source address.
    GatewayEndpoint,
    /// Nowhere.
    Blackhole,
}

/// A network ACL: stateless rules at the border of a subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// What may come into the subnet: by rule number, the first that matches decides.
    pub inbound: BTreeMap<u16, AclEntry>,
    /// What may leave the subnet. What no entry matches is denied, in both directions.
    pub outbound: BTreeMap<u16, AclEntry>,
}

/// An entry of a network ACL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// Whether what matches may pass.
    pub allow: bool,
    /// The traffic it is about; ports are destination ports.
    pub traffic: Traffic,
    /// The other side: sources of inbound entries, destinations of outbound ones.
    pub cidr: Ipv4Net,
}

/// A security group: what may reach its members and what they may reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// What may come in. Answers to it may leave whatever the egress rules say.
    pub ingress: BTreeSet<GroupRule>,
    /// What may go out. Answers to it may come in.
    pub egress: BTreeSet<GroupRule>,
}

/// A rule of a security group; it allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupRule {
    /// The traffic it allows; ports are destination ports.
    pub traffic: Traffic,
    /// From whom, or to whom.
    pub peer: GroupRulePeer,
}

/// The other side of a security group's rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupRulePeer {
    /// Addresses.
    Cidr(Ipv4Net),
    /// The private addresses of a group's members.
    Group(SecurityGroupId),
}

/// A kind of traffic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// Everything.
    All,
    /// TCP to these ports.
    Tcp(PortRange),
    /// UDP to these ports.
    Udp(PortRange),
    /// ICMP: of this type and with this code, or of any.
    Icmp(Option<u8>, Option<u8>),
    /// Another protocol by its number, whole.
    Protocol(u8),
}

/// A NAT gateway: translates what private interfaces send to the internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// The subnet it is in, one whose route table leads to an internet gateway.
    pub subnet: SubnetId,
    /// Its address in the subnet.
    pub address: Ipv4Addr,
    /// Its Elastic IP: what the internet sees.
    pub public_address: Ipv4Addr,
}

/// A network interface, with a network namespace to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The subnet it is in.
    pub subnet: SubnetId,
    /// Its address in the subnet.
    pub address: Ipv4Addr,
    /// Its address on the internet, which the internet gateway translates.
    pub public_address: Option<Ipv4Addr>,
    /// The security groups it is a member of; with none, nothing passes.
    pub security_groups: BTreeSet<SecurityGroupId>,
}

impl Topology {
    /// The VPC that a subnet is in.
    pub(super) fn vpc_of(&self, subnet: &SubnetId) -> Option<&VpcId> {
        self.subnets.get(subnet).map(|subnet| &subnet.vpc)
    }

    /// Whether a subnet of the VPC has a route to a gateway endpoint.
    pub(super) fn has_endpoint(&self, vpc: &VpcId) -> bool {
        self.subnets
            .values()
            .filter(|subnet| subnet.vpc == *vpc)
            .filter_map(|subnet| subnet.route_table.as_ref())
            .any(|table| {
                let mut targets = self.route_tables[table].routes.values();
                targets.any(|target| *target == NextHop::GatewayEndpoint)
            })
    }

    /// Every fault: what is referred to and not there, and addresses that are wrong or taken.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut missing = |what: &str, found: bool, by: &dyn fmt::Display| {
            if !found {
                faults.push(format!("{by} refers to a {what} that is not there"));
            }
        };
        for (id, subnet) in &self.subnets {
            missing("VPC", self.vpcs.contains_key(&subnet.vpc), id);
            if let Some(table) = &subnet.route_table {
                missing("route table", self.route_tables.contains_key(table), id);
            }
            if let Some(acl) = &subnet.network_acl {
                missing("network ACL", self.network_acls.contains_key(acl), id);
            }
        }
        for (id, group) in &self.security_groups {
            for rule in group.ingress.iter().chain(&group.egress) {
                if let GroupRulePeer::Group(peer) = &rule.peer {
                    let found = self.security_groups.contains_key(peer);
                    missing("security group", found, id);
                }
            }
        }
        for (id, interface) in &self.interfaces {
            for group in &interface.security_groups {
                let found = self.security_groups.contains_key(group);
                missing("security group", found, id);
            }
        }
        for (id, vpc) in &self.vpcs {
            if vpc.cidr.prefix_len() < 16 {
                faults.push(format!("{id} has {}, more than a /16", vpc.cidr));
            }
        }
        let mut taken = BTreeSet::new();
        let mut public_taken = self.internet_hosts.clone();
        for place in self.places() {
            let who = &place.who;
            let Some(subnet) = self.subnets.get(place.subnet) else {
                faults.push(format!("{who} refers to a subnet that is not there"));
                continue;
            };
            let first = u32::from(subnet.cidr.network()).saturating_add(RESERVED);
            let free = first..u32::from(subnet.cidr.broadcast());
            if !free.contains(&u32::from(place.address)) {
                faults.push(format!(
                    "{who} has {}, which is not a free address of {}",
                    place.address, subnet.cidr
                ));
            }
            if !taken.insert((&subnet.vpc, place.address)) {
                faults.push(format!("{who} has {}, which is taken", place.address));
            }
            if let Some(public) = place.public_address
                && !public_taken.insert(public)
            {
                faults.push(format!("{who} has {public}, which is taken"));
            }
        }
        faults
    }

    /// Everything with an address in a subnet.
    fn places(&self) -> impl Iterator<Item = AddressHolder<'_>> {
        let interfaces = self.interfaces.iter().map(|(id, interface)| AddressHolder {
            who: id.to_string(),
            subnet: &interface.subnet,
            address: interface.address,
            public_address: interface.public_address,
        });
        let gateways = self.nat_gateways.iter().map(|(id, gateway)| AddressHolder {
            who: id.to_string(),
            subnet: &gateway.subnet,
            address: gateway.address,
            public_address: Some(gateway.public_address),
        });
        interfaces.chain(gateways)
    }
}

/// Something with an address in a subnet.
struct AddressHolder<'a> {
    who: String,
    subnet: &'a SubnetId,
    address: Ipv4Addr,
    public_address: Option<Ipv4Addr>,
}
