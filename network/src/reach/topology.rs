//! A network as plain data with every name resolved: what a trace walks through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::{Key, ResourceName, Zone};
use serde::{Deserialize, Serialize};

use crate::EndpointService;
use crate::network_acl::AclEntry;
use crate::traffic::{Direction, PortRange, Protocol};

/// One VPC and all that stands in it.
///
/// A name that something refers to and that is not here is as it is in a cloud: a route to a gateway that
/// is gone leads nowhere, a group that is gone has no members and no rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The VPC's addresses.
    pub cidr: Ipv4Net,
    /// The internet gateway that is attached, if one is.
    pub internet_gateway: Option<Key>,
    /// The subnets.
    pub subnets: BTreeMap<Key, Subnet>,
    /// The route tables.
    pub route_tables: BTreeMap<Key, RouteTable>,
    /// The network ACLs.
    pub network_acls: BTreeMap<Key, NetworkAcl>,
    /// The security groups.
    pub security_groups: BTreeMap<Key, SecurityGroup>,
    /// The NAT gateways.
    pub nat_gateways: BTreeMap<Key, NatGateway>,
    /// The gateway endpoints.
    pub endpoints: BTreeMap<Key, Endpoint>,
    /// The network interfaces, by the name of what they belong to: `web/1`, `bastion`.
    pub interfaces: BTreeMap<String, Interface>,
    /// The load balancers.
    pub balancers: BTreeMap<Key, Balancer>,
    /// The target groups.
    pub target_groups: BTreeMap<Key, TargetGroup>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its addresses.
    pub cidr: Ipv4Net,
    /// Its zone.
    pub zone: Zone,
    /// Its route table; without one it has the VPC's main table, which leads to the VPC alone.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html>
    pub route_table: Option<Key>,
    /// Its network ACL; without one it has the VPC's default ACL, which lets everything through.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html>
    pub network_acl: Option<Key>,
}

/// The routes of a route table, without those that every table has: to the VPC, and through endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Where packets go, by destination; the longest prefix wins.
    pub routes: BTreeMap<Ipv4Net, Target>,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// To the internet gateway.
    InternetGateway(Key),
    /// To a NAT gateway.
    NatGateway(Key),
}

impl Target {
    /// The gateway.
    pub fn key(&self) -> &Key {
        match self {
            Self::InternetGateway(key) | Self::NatGateway(key) => key,
        }
    }
}

/// The entries of a network ACL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// In any order: their numbers say which is asked first.
    pub entries: Vec<AclEntry>,
}

/// The rules of a security group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// What is let through, in any order.
    pub rules: Vec<GroupRule>,
}

/// One rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRule {
    /// PortField way the connection is opened.
    pub direction: Direction,
    /// Its protocol.
    pub protocol: Protocol,
    /// The ports that it goes to.
    pub ports: PortRange,
    /// Who is at the other end.
    pub peer: Peer,
    /// What the rule is for.
    pub description: String,
}

/// The other end of what a security group's rule allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// These addresses.
    Cidr(Ipv4Net),
    /// Every interface in this group, by its private address.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html#security-group-referencing>
    Group(Key),
    /// The addresses of a service, by its prefix list: those of its [`Endpoint`]s.
    Service(EndpointService),
}

/// A public NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// The subnet that it stands in.
    pub subnet: Key,
    /// The address that the internet sees.
    pub public: Address,
}

/// A gateway endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The service that it leads to.
    pub service: EndpointService,
    /// The addresses of the service: the prefix list that its routes and rules are for.
    pub prefixes: Vec<Ipv4Net>,
    /// The route tables that have a route to it.
    pub route_tables: BTreeSet<Key>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The subnet that it stands in.
    pub subnet: Key,
    /// Its address in the subnet.
    pub address: Address,
    /// The public address that the internet gateway translates to its own, one to one.
    pub public: Option<Address>,
    /// Its security groups.
    pub groups: BTreeSet<Key>,
    /// What it belongs to.
    pub role: Role,
}

/// An address that is known, or will be once the thing exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// This one.
    Known(Ipv4Addr),
    /// One that nobody knows yet: any free one of the subnet, or any public one. A flow is reachable
    /// when it is with each address that it could be.
    Pending,
}

impl Address {
    /// The address, once it is known.
    pub fn known(self) -> Option<Ipv4Addr> {
        match self {
            Self::Known(address) => Some(address),
            Self::Pending => None,
        }
    }
}

/// What an interface belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An instance of a service.
    Service(ResourceName),
    /// The bastion.
    Bastion,
    /// A node of a load balancer.
    Node(Key),
    /// Anything else.
    Other,
}

/// A load balancer that faces the internet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balancer {
    /// Its nodes, by the names of their interfaces.
    pub nodes: BTreeSet<String>,
    /// Its listeners.
    pub listeners: BTreeMap<Key, Listener>,
}

/// A listener of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// Where requests go that no rule takes: a target group.
    pub default: Key,
    /// Where the others go, by the rule that takes them.
    pub rules: BTreeMap<Key, Key>,
}

/// A target group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// The port that targets are asked on.
    pub port: u16,
    /// The port that their health is asked on.
    pub health_port: u16,
    /// The targets, by the names of their interfaces.
    pub targets: BTreeSet<String>,
}

impl Topology {
    /// A VPC with nothing in it.
    pub fn new(cidr: Ipv4Net) -> Self {
        Self {
            cidr,
            internet_gateway: None,
            subnets: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            network_acls: BTreeMap::new(),
            security_groups: BTreeMap::new(),
            nat_gateways: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            balancers: BTreeMap::new(),
            target_groups: BTreeMap::new(),
        }
    }
}
