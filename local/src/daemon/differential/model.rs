//! A world as `landfall_network::reach` is asked about it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::reach::{self, Address, End, Role, Topology};
use landfall_network::{EndpointService, Peer, PortRange, RouteTarget, SecurityRule};
use landfall_provider::{Input, Key, Kind, ResourceId, kind};

use super::world::{BALANCER, ENDPOINT, Flow, INTERNET_GATEWAY, Sender, TestTopology};
use landfall_vnet::endpoint_addresses;

/// The key that stands for an id.
pub(super) fn key<I: ResourceId>(id: &I) -> Key {
    named(I::KIND, id.as_ref())
}

fn named(kind: Kind, id: &str) -> Key {
    Key::new(kind, id.parse().expect("the ids of worlds are labels"))
}

fn keyed<I: ResourceId>(input: &Input<I>) -> Key {
    key(input.known().expect("a world has no promises"))
}

/// The world, in the words of the trace.
pub(super) fn model(world: &TestTopology) -> Topology {
    let gateway = named(kind::INTERNET_GATEWAY, INTERNET_GATEWAY);
    let mut topology = Topology {
        internet_gateway: world.internet_gateway.then_some(gateway),
        ..Topology::new(world.vpc.cidr)
    };
    let mut tables = BTreeMap::new();
    for (id, table) in &world.route_tables {
        for subnet in &table.subnets {
            tables.insert(keyed(subnet), key(id));
        }
        let routes = table.routes.iter().map(|route| {
            let target = match &route.via {
                RouteTarget::InternetGateway(id) => reach::Target::InternetGateway(keyed(id)),
                RouteTarget::NatGateway(id) => reach::Target::NatGateway(keyed(id)),
            };
            (route.destination, target)
        });
        let table = reach::RouteTable {
            routes: routes.collect(),
        };
        topology.route_tables.insert(key(id), table);
    }
    let mut acls = BTreeMap::new();
    for (id, acl) in &world.network_acls {
        for subnet in &acl.subnets {
            acls.insert(keyed(subnet), key(id));
        }
        let acl = reach::NetworkAcl {
            entries: acl.entries.clone(),
        };
        topology.network_acls.insert(key(id), acl);
    }
    for (id, subnet) in &world.subnets {
        let id = key(id);
        let subnet = reach::Subnet {
            cidr: subnet.cidr,
            zone: subnet.zone.clone(),
            route_table: tables.get(&id).cloned(),
            network_acl: acls.get(&id).cloned(),
        };
        topology.subnets.insert(id, subnet);
    }
    for (id, rules) in &world.groups {
        let rules = rules.iter().map(|rule| SecurityRule {
            direction: rule.direction,
            protocol: rule.protocol,
            ports: rule.ports,
            peer: match &rule.peer {
                Peer::Cidr(cidr) => Peer::Cidr(*cidr),
                Peer::Group(group) => Peer::Group(keyed(group)),
            },
            description: rule.description.clone(),
        });
        let group = reach::SecurityGroup {
            rules: rules.collect(),
        };
        topology.security_groups.insert(key(id), group);
    }
    for (id, gateway) in &world.nat_gateways {
        let gateway = reach::NatGateway {
            subnet: key(&gateway.subnet),
            public: Address::Known(gateway.public_address),
        };
        topology.nat_gateways.insert(key(id), gateway);
    }
    if let Some(tables) = &world.endpoint {
        let endpoint = reach::Endpoint {
            service: EndpointService::S3,
            prefixes: vec![endpoint_addresses(EndpointService::S3)],
            route_tables: tables.iter().map(key).collect(),
        };
        let id = named(kind::GATEWAY_ENDPOINT, ENDPOINT);
        topology.endpoints.insert(id, endpoint);
    }
    interfaces(world, &mut topology);
    topology
}

fn interfaces(world: &TestTopology, topology: &mut Topology) {
    for (id, host) in &world.instances {
        let interface = reach::Interface {
            subnet: key(&host.subnet),
            address: Address::Known(host.address),
            public: host.public_address.map(Address::Known),
            groups: host.groups.iter().map(key).collect(),
            role: Role::Other,
        };
        topology.interfaces.insert(id.to_string(), interface);
    }
    let Some(balancer) = &world.balancer else {
        return;
    };
    let id = named(kind::LOAD_BALANCER, BALANCER);
    for (index, node) in balancer.nodes.iter().enumerate() {
        let interface = reach::Interface {
            subnet: key(&node.subnet),
            address: Address::Known(node.address),
            public: Some(Address::Known(node.public_address)),
            groups: balancer.groups.iter().map(key).collect(),
            role: Role::Node(id.clone()),
        };
        topology.interfaces.insert(node_name(index), interface);
    }
    let nodes = (0..balancer.nodes.len()).map(node_name);
    let balancer = reach::Balancer {
        nodes: nodes.collect(),
        listeners: BTreeMap::new(),
    };
    topology.balancers.insert(id, balancer);
}

fn node_name(index: usize) -> String {
    format!("{BALANCER}/{index}")
}

/// The flow, in the words of the trace.
pub(super) fn asked(flow: &Flow) -> reach::Flow {
    let address = |address: Ipv4Addr| End::Addresses(Ipv4Net::from(address));
    reach::Flow {
        from: match &flow.from {
            Sender::Internet(host) => address(*host),
            Sender::Instance(id) => End::Interface(id.to_string()),
            Sender::Node(index) => End::Interface(node_name(*index)),
        },
        to: address(flow.to),
        protocol: flow.protocol,
        ports: PortRange {
            from: flow.port,
            to: flow.port,
        },
        source_ports: flow.source_ports,
    }
}
