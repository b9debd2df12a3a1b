//! Lowers a topology to the links, routes and rules of each network namespace; pure functions.
//!
//! All numbers are functions of addresses, so the same topology always has the same layout. The name of an
//! interface's link is its address; `numbers` has the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::EndpointService;
use landfall_provider::{NatGatewayId, SubnetId, VpcId};

use super::numbers::{
    ENDPOINT_LINK, INTERNET_GROUP, INTERNET_LINK, endpoint_index, endpoint_mark, group_of,
    internet_index, link_index,
};
use super::ruleset;
use super::topology::{InterfaceId, NextHop, Topology};
use crate::netlink::route::{End, Hop, LOOPBACK, MAIN, Mac, PolicyRule, Route, Select};
use crate::netlink::ruleset::Ruleset;

/// The addresses of the service S3, a block that is reserved for documentation (RFC 5737).
const S3: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24);

/// The only address of S3 with a host.
pub const S3_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The public addresses of a service: the destination of the routes to its gateway endpoints.
pub fn endpoint_addresses(service: EndpointService) -> Ipv4Net {
    match service {
        EndpointService::S3 => S3,
    }
}

/// The index of the link in a namespace with one link and loopback.
const ONLY_LINK: u32 = 2;

/// The address of a router for its neighbours, and of the internet for a router.
const ROUTER: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);
const INTERNET: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 2);

/// The routing table for all addresses of the VPC.
const VPC_TABLE: u32 = 1000;

/// The number of a subnet's routing table is this number plus the subnet's group.
const SUBNET_TABLES: u32 = 2000;

/// In the internet's namespace, the number of the table for a VPC's endpoint link is this number plus the VPC's.
const ENDPOINT_TABLES: u32 = 1000;

/// Priorities of policy rules, in their order.
const LOCAL_FIRST: u32 = 100;
const BY_SUBNET: u32 = 200;
const ELSE_NOWHERE: u32 = 300;

/// The id of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeId {
    /// The internet.
    Internet,
    /// A VPC's router.
    Router(VpcId),
    /// A NAT gateway.
    NatGateway(NatGatewayId),
    /// An interface.
    Interface(InterfaceId),
}

/// The content of one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NamespaceLayout {
    /// Links to other namespaces, by index. Each link is listed in one of its two namespaces.
    pub(super) links: BTreeMap<u32, Link>,
    /// Addresses, with the index of the link that has them.
    pub(super) addresses: BTreeSet<(u32, Ipv4Addr)>,
    /// The Ethernet addresses of neighbours, so that no ARP is necessary.
    pub(super) neighbours: BTreeMap<(u32, Ipv4Addr), Mac>,
    /// Routes by table and destination.
    pub(super) routes: BTreeMap<(u32, Ipv4Net), Route>,
    /// The policy rules, which select routing tables.
    pub(super) rules: BTreeSet<PolicyRule>,
    /// The packet filter rules.
    pub(super) ruleset: Ruleset,
}

/// A link to another namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// The end in this namespace.
    pub(super) here: End,
    /// The other namespace.
    pub(super) peer: NodeId,
    /// The end in the other namespace.
    pub(super) there: End,
}

/// The content of all namespaces.
pub(super) type Layout = BTreeMap<NodeId, NamespaceLayout>;

/// The number of each VPC in the internet's namespace, from 0.
pub(super) type VpcNumbers = BTreeMap<VpcId, u32>;

/// Keeps the numbers of existing VPCs, and assigns the lowest free ones to new VPCs.
pub(super) fn vpc_numbers(current: &VpcNumbers, topology: &Topology) -> VpcNumbers {
    let mut vpc_numbers: VpcNumbers = current
        .iter()
        .filter(|(vpc, _)| topology.vpcs.contains_key(*vpc))
        .map(|(vpc, slot)| (vpc.clone(), *slot))
        .collect();
    for vpc in topology.vpcs.keys() {
        if !vpc_numbers.contains_key(vpc) {
            let taken: BTreeSet<u32> = vpc_numbers.values().copied().collect();
            let free = (0..).find(|slot| !taken.contains(slot));
            vpc_numbers.insert(vpc.clone(), free.expect("fewer VPCs than numbers"));
        }
    }
    vpc_numbers
}

/// Lowers a topology without faults.
pub(super) fn layout(topology: &Topology, vpc_numbers: &VpcNumbers) -> Layout {
    let mut internet = NamespaceLayout::default();
    let hosts = topology.internet_hosts.iter().copied();
    for address in hosts.chain([S3_ADDRESS]) {
        internet.addresses.insert((LOOPBACK, address));
    }
    let mut layout = Layout::new();
    for vpc in topology.vpcs.keys() {
        lower_vpc(topology, vpc, vpc_numbers[vpc], &mut internet, &mut layout);
    }
    internet.ruleset = ruleset::internet(
        topology
            .vpcs
            .keys()
            .filter(|vpc| topology.has_endpoint(vpc))
            .map(|vpc| {
                (
                    endpoint_index(vpc_numbers[vpc]),
                    endpoint_mark(vpc_numbers[vpc]),
                )
            }),
    );
    layout.insert(NodeId::Internet, internet);
    layout
}

fn lower_vpc(
    topology: &Topology,
    id: &VpcId,
    slot: u32,
    internet: &mut NamespaceLayout,
    layout: &mut Layout,
) {
    let vpc = &topology.vpcs[id];
    let mut router = NamespaceLayout {
        ruleset: ruleset::router(topology, id),
        ..NamespaceLayout::default()
    };
    router.routes.insert(
        (VPC_TABLE, vpc.cidr),
        Route {
            hop: Hop::Blackhole,
            source: None,
        },
    );
    for (priority, table) in [(LOCAL_FIRST, Some(VPC_TABLE)), (ELSE_NOWHERE, None)] {
        router.rules.insert(PolicyRule {
            priority,
            select: Select::All,
            table,
        });
    }
    if vpc.internet_gateway {
        let mut link = uplink(INTERNET_LINK, "internet", internet_index(slot), slot);
        link.here.group = INTERNET_GROUP;
        connect(&mut router, internet, link);
    }
    if topology.has_endpoint(id) {
        let link = uplink(ENDPOINT_LINK, "endpoint", endpoint_index(slot), slot);
        connect(&mut router, internet, link);
        let table = ENDPOINT_TABLES + slot;
        internet
            .routes
            .insert((table, vpc.cidr), via(endpoint_index(slot), ROUTER, None));
        internet.rules.insert(PolicyRule {
            priority: LOCAL_FIRST,
            select: Select::Mark(endpoint_mark(slot)),
            table: Some(table),
        });
    }
    for (subnet_id, subnet) in topology.subnets.iter().filter(|(_, s)| s.vpc == *id) {
        let table = SUBNET_TABLES + group_of(topology, subnet_id);
        let routes = subnet
            .route_table
            .as_ref()
            .map(|table| &topology.route_tables[table]);
        for (to, target) in routes.into_iter().flat_map(|table| &table.routes) {
            let route = lower_route(topology, id, target);
            router.routes.insert((table, *to), route);
        }
    }
    let mut attach = |node: NodeId, subnet: &SubnetId, address: Ipv4Addr| {
        let mut end = NamespaceLayout::default();
        let index = link_index(vpc.cidr, address);
        let group = group_of(topology, subnet);
        let link = Link {
            here: End {
                index,
                name: address.to_string(),
                mac: mac(ROUTER_SIDE, address),
                group,
            },
            there: End {
                index: ONLY_LINK,
                name: "eth0".to_owned(),
                mac: mac(HOST_SIDE, address),
                group: 0,
            },
            peer: node.clone(),
        };
        end.addresses.insert((ONLY_LINK, address));
        end.neighbours.insert((ONLY_LINK, ROUTER), link.here.mac);
        end.routes
            .insert((MAIN, ANYWHERE), via(ONLY_LINK, ROUTER, Some(address)));
        router.neighbours.insert((index, address), link.there.mac);
        router.routes.insert(
            (VPC_TABLE, host(address)),
            Route {
                hop: Hop::Link(index),
                source: None,
            },
        );
        router.rules.insert(PolicyRule {
            priority: BY_SUBNET,
            select: Select::Incoming(link.here.name.clone()),
            table: Some(SUBNET_TABLES + group),
        });
        router.links.insert(index, link);
        (node, end)
    };
    let here = |subnet: &SubnetId| topology.vpc_of(subnet) == Some(id);
    let mut public = Vec::new();
    for (gateway_id, gateway) in &topology.nat_gateways {
        if here(&gateway.subnet) {
            let node = NodeId::NatGateway(gateway_id.clone());
            let (node, mut end) = attach(node, &gateway.subnet, gateway.address);
            end.ruleset = ruleset::nat_gateway(vpc.cidr, gateway.address);
            layout.insert(node, end);
            public.push(gateway.public_address);
        }
    }
    for (interface_id, interface) in &topology.interfaces {
        if here(&interface.subnet) {
            let node = NodeId::Interface(interface_id.clone());
            let (node, end) = attach(node, &interface.subnet, interface.address);
            layout.insert(node, end);
            public.extend(interface.public_address);
        }
    }
    if vpc.internet_gateway {
        let source = topology.internet_hosts.first().copied();
        for address in public {
            internet.routes.insert(
                (MAIN, host(address)),
                via(internet_index(slot), ROUTER, source),
            );
        }
    }
    layout.insert(NodeId::Router(id.clone()), router);
}

/// A link from a router to the internet.
fn uplink(index: u32, name: &str, there: u32, slot: u32) -> Link {
    let unique = |side: u8| {
        let [_, _, high, low] = slot.to_be_bytes();
        Mac([side, 0, 0, index.to_be_bytes()[3], high, low])
    };
    Link {
        here: End {
            index,
            name: name.to_owned(),
            mac: unique(ROUTER_SIDE),
            group: 0,
        },
        there: End {
            index: there,
            name: format!("{name}-{slot}"),
            mac: unique(HOST_SIDE),
            group: 0,
        },
        peer: NodeId::Internet,
    }
}

/// Connects a router and the internet with a link, and enters the neighbours.
fn connect(router: &mut NamespaceLayout, internet: &mut NamespaceLayout, link: Link) {
    router
        .neighbours
        .insert((link.here.index, INTERNET), link.there.mac);
    internet
        .neighbours
        .insert((link.there.index, ROUTER), link.here.mac);
    router.links.insert(link.here.index, link);
}

fn lower_route(topology: &Topology, vpc: &VpcId, target: &NextHop) -> Route {
    let blackhole = Route {
        hop: Hop::Blackhole,
        source: None,
    };
    match target {
        NextHop::InternetGateway if topology.vpcs[vpc].internet_gateway => {
            via(INTERNET_LINK, INTERNET, None)
        }
        NextHop::GatewayEndpoint => via(ENDPOINT_LINK, INTERNET, None),
        NextHop::NatGateway(id) => match topology.nat_gateways.get(id) {
            Some(gateway) if topology.vpc_of(&gateway.subnet) == Some(vpc) => {
                let index = link_index(topology.vpcs[vpc].cidr, gateway.address);
                via(index, gateway.address, None)
            }
            _ => blackhole,
        },
        NextHop::InternetGateway | NextHop::Blackhole => blackhole,
    }
}

/// The first byte of the locally administered Ethernet addresses of each side of a link.
const ROUTER_SIDE: u8 = 0x02;
const HOST_SIDE: u8 = 0x06;

fn mac(side: u8, address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    Mac([side, 1, a, b, c, d])
}

const ANYWHERE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

fn host(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::from(address)
}

fn via(index: u32, gateway: Ipv4Addr, source: Option<Ipv4Addr>) -> Route {
    Route {
        hop: Hop::Gateway(index, gateway),
        source,
    }
}
