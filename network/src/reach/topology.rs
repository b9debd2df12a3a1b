//! A topology: a network as plain data with all names resolved, the input of a trace.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::{Key, ResourceName, Zone};
use serde::{Deserialize, Serialize};

use crate::EndpointService;
use crate::network_acl::AclEntry;
use crate::security_group_rules::SecurityRule;

/// One VPC and all its resources.
///
/// A reference to a missing resource behaves as in a cloud: a route to a deleted gateway drops
/// packets, a deleted group has no members and no rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The VPC's addresses.
    pub cidr: Ipv4Net,
    /// The attached internet gateway, if any.
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
    /// The network interfaces, by the name of their owner: `web/1`, `bastion`.
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
    /// Its route table; without one it has the VPC's main table, which only routes to the VPC.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-route-tables.html>
    pub route_table: Option<Key>,
    /// Its network ACL; without one it has the VPC's default ACL, which allows everything.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html>
    pub network_acl: Option<Key>,
}

/// The routes of a route table, without the implicit ones: to the VPC, and to endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// The targets by destination; the longest prefix wins.
    pub routes: BTreeMap<Ipv4Net, Target>,
}

/// The target of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// An internet gateway.
    InternetGateway(Key),
    /// A NAT gateway.
    NatGateway(Key),
}

impl Target {
    /// The gateway's key.
    pub fn key(&self) -> &Key {
        match self {
            Self::InternetGateway(key) | Self::NatGateway(key) => key,
        }
    }
}

/// The entries of a network ACL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAcl {
    /// In any order: their numbers define the order of evaluation.
    pub entries: Vec<AclEntry>,
}

/// The rules of a security group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// The allowed traffic, in any order.
    pub rules: Vec<SecurityRule<Key>>,
}

/// A public NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// The subnet of the gateway.
    pub subnet: Key,
    /// Its address on the internet.
    pub public: Address,
}

/// A gateway endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The service of the endpoint.
    pub service: EndpointService,
    /// The addresses of the service: the prefix list of its routes and rules.
    pub prefixes: Vec<Ipv4Net>,
    /// The route tables with a route to it.
    pub route_tables: BTreeSet<Key>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its subnet.
    pub subnet: Key,
    /// Its address in the subnet.
    pub address: Address,
    /// The public address that the internet gateway translates to its own, one to one.
    pub public: Option<Address>,
    /// Its security groups.
    pub groups: BTreeSet<Key>,
    /// Its owner.
    pub role: Role,
}

/// An address that is known now, or will be known once its resource exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// A known address.
    Known(Ipv4Addr),
    /// An address that is not known yet: any free one of the subnet, or any public one. A flow is
    /// reachable when it is reachable with each possible address.
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

/// The owner of an interface.
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

/// An internet-facing load balancer.
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
    /// The target group of requests that match no rule.
    pub default: Key,
    /// The target groups of the other requests, by rule.
    pub rules: BTreeMap<Key, Key>,
}

/// A target group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// The port of the targets.
    pub port: u16,
    /// The port of their health checks.
    pub health_port: u16,
    /// The targets, by the names of their interfaces.
    pub targets: BTreeSet<String>,
}

impl Topology {
    /// An empty VPC.
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
