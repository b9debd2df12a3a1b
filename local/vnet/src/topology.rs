//! The desired network: plain data with all ids and addresses known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::PortRange;
use landfall_provider::{
    NatGatewayId, NetworkAclId, RouteTableId, SecurityGroupId, SubnetId, VpcId,
};
use serde::{Deserialize, Serialize};

/// The number of addresses that AWS reserves at the beginning of every subnet. It also reserves the last one.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>. The fabric relies on it: links out of a VPC
/// use the numbers of reserved addresses.
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

/// The content of the fabric.
///
/// Every referenced id must exist; [`Fabric::apply`](super::Fabric::apply) refuses a topology with dangling
/// references.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Addresses of hosts on the internet. The hosts are sockets in its namespace.
    pub internet_hosts: BTreeSet<Ipv4Addr>,
    /// VPCs. Two may have the same addresses; they cannot reach each other.
    pub vpcs: BTreeMap<VpcId, Vpc>,
    /// Subnets of the VPCs.
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// Route tables of subnets.
    pub route_tables: BTreeMap<RouteTableId, RouteTable>,
    /// Network ACLs of subnets.
    pub network_acls: BTreeMap<NetworkAclId, NetworkAcl>,
    /// Security groups of interfaces.
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
    /// The VPC of the subnet.
    pub vpc: VpcId,
    /// Its addresses, a /28 at least.
    pub cidr: Ipv4Net,
    /// Its route table; without one it reaches only the VPC.
    pub route_table: Option<RouteTableId>,
    /// Its network ACL; without one all traffic passes, as with a VPC's default ACL.
    pub network_acl: Option<NetworkAclId>,
}

/// A route table. It omits the route to the VPC itself, which every table has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Next hops by destination; the longest prefix wins. Packets without a route are dropped.
    pub routes: BTreeMap<Ipv4Net, NextHop>,
}

/// The next hop of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextHop {
    /// The VPC's internet gateway: a black hole if none is attached.
    InternetGateway,
    /// A NAT gateway: a black hole if it does not exist any more.
    NatGateway(NatGatewayId),
    /// A gateway endpoint, which reaches the service with the private source address.
    GatewayEndpoint,
    /// A black hole.
    Blackhole,
}

/// A network ACL: stateless rules at the border of a subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// Inbound traffic of the subnet: entries by rule number; the first match decides.
    pub inbound: BTreeMap<u16, LoweredAclEntry>,
    /// Outbound traffic of the subnet. Traffic without a match is denied, in both directions.
    pub outbound: BTreeMap<u16, LoweredAclEntry>,
}

/// An entry of a network ACL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoweredAclEntry {
    /// Whether matching traffic is allowed.
    pub allow: bool,
    /// The matching traffic; ports are destination ports.
    pub traffic: Traffic,
    /// The other side: sources of inbound entries, destinations of outbound ones.
    pub cidr: Ipv4Net,
}

/// A security group: allowed traffic to and from its members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Inbound traffic. Responses may leave regardless of the egress rules.
    pub ingress: BTreeSet<GroupRule>,
    /// Outbound traffic. Responses may enter regardless of the ingress rules.
    pub egress: BTreeSet<GroupRule>,
}

/// A rule of a security group; rules only allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupRule {
    /// The traffic it allows; ports are destination ports.
    pub traffic: Traffic,
    /// The source of inbound traffic, or the destination of outbound traffic.
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

/// A type of traffic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// All traffic.
    All,
    /// TCP to these ports.
    Tcp(PortRange),
    /// UDP to these ports.
    Udp(PortRange),
    /// ICMP: of this type and code, or of any.
    Icmp(Option<u8>, Option<u8>),
    /// All traffic of another protocol, by its number.
    Protocol(u8),
}

/// A NAT gateway: translates the traffic of private interfaces to the internet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// Its subnet, with a route to an internet gateway.
    pub subnet: SubnetId,
    /// Its address in the subnet.
    pub address: Ipv4Addr,
    /// Its Elastic IP: the source address that the internet sees.
    pub public_address: Ipv4Addr,
}

/// A network interface, with its own network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its address in the subnet.
    pub address: Ipv4Addr,
    /// Its public address, which the internet gateway translates.
    pub public_address: Option<Ipv4Addr>,
    /// Its security groups; without one, no traffic passes.
    pub security_groups: BTreeSet<SecurityGroupId>,
}

impl Topology {
    /// The VPC of a subnet.
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

    /// All faults: references to missing resources, and addresses that are wrong or used twice.
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

    /// All resources with an address in a subnet.
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

/// A resource with an address in a subnet.
struct AddressHolder<'a> {
    who: String,
    subnet: &'a SubnetId,
    address: Ipv4Addr,
    public_address: Option<Ipv4Addr>,
}
