//! Computes the desired network from the records: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use landfall_compute::Instance;
use landfall_network::{AclAction, Direction, PortRange, Protocol, RouteTarget};
use landfall_provider::{
    Input, InstanceId, LoadBalancerId, ResourceId, RouteTableId, SubnetId, Zone,
};

use super::state::State;
use super::table::{Entry, LocalResource};
use landfall_vnet::{
    GroupRule, GroupRulePeer, Interface, InterfaceId, LoweredAclEntry, NatGateway, NetworkAcl,
    NextHop, RouteTable, SecurityGroup, Subnet, Topology, Traffic, Vpc, endpoint_addresses,
};

/// The interface of an instance.
pub(crate) fn instance_interface(id: &InstanceId) -> InterfaceId {
    InterfaceId::from(format!("eni-{id}"))
}

/// The interface of a load balancer's node.
pub(crate) fn node_interface(balancer: &LoadBalancerId, zone: &Zone) -> InterfaceId {
    InterfaceId::from(format!("eni-{balancer}-{zone}"))
}

/// The desired network.
pub(crate) fn topology(state: &State) -> Topology {
    let tables = &state.tables;
    let gateways: BTreeSet<_> = tables
        .internet_gateways
        .values()
        .filter_map(|gateway| gateway.spec.vpc.known())
        .collect();
    let vpcs = tables.vpcs.iter().map(|(id, vpc)| {
        let vpc = Vpc {
            cidr: vpc.spec.cidr,
            internet_gateway: gateways.contains(id),
        };
        (id.clone(), vpc)
    });
    let subnets = tables.subnets.iter().filter_map(|(id, subnet)| {
        let subnet = Subnet {
            vpc: subnet.spec.vpc.known()?.clone(),
            cidr: subnet.spec.cidr,
            route_table: associated(&tables.route_tables, id, |table| &table.subnets),
            network_acl: associated(&tables.network_acls, id, |acl| &acl.subnets),
        };
        Some((id.clone(), subnet))
    });
    let nat_gateways = tables.nat_gateways.iter().filter_map(|(id, gateway)| {
        let gateway = NatGateway {
            subnet: gateway.spec.subnet.known()?.clone(),
            address: gateway.facts.private,
            public_address: gateway.facts.public,
        };
        Some((id.clone(), gateway))
    });
    Topology {
        internet_hosts: [crate::OPERATOR].into(),
        vpcs: vpcs.collect(),
        subnets: subnets.collect(),
        route_tables: route_tables(state),
        network_acls: tables
            .network_acls
            .iter()
            .map(|(id, acl)| (id.clone(), network_acl(&acl.spec)))
            .collect(),
        security_groups: security_groups(state),
        nat_gateways: nat_gateways.collect(),
        interfaces: interfaces(state),
    }
}

/// The record of this kind that is associated with the subnet.
fn associated<R: LocalResource>(
    records: &BTreeMap<R::Id, Entry<R>>,
    subnet: &SubnetId,
    subnets: impl Fn(&R) -> &Vec<Input<SubnetId>>,
) -> Option<R::Id> {
    let names = |entry: &Entry<R>| {
        subnets(&entry.spec)
            .iter()
            .any(|other| other.known() == Some(subnet))
    };
    records
        .iter()
        .find(|(_, entry)| names(entry))
        .map(|(id, _)| id.clone())
}

fn route_tables(state: &State) -> BTreeMap<RouteTableId, RouteTable> {
    let mut tables: BTreeMap<RouteTableId, RouteTable> = BTreeMap::new();
    for (id, table) in &state.tables.route_tables {
        let routes = table.spec.routes.iter().filter_map(|route| {
            let target = match &route.via {
                RouteTarget::InternetGateway(_) => NextHop::InternetGateway,
                RouteTarget::NatGateway(gateway) => NextHop::NatGateway(gateway.known()?.clone()),
            };
            Some((route.destination, target))
        });
        tables.insert(
            id.clone(),
            RouteTable {
                routes: routes.collect(),
            },
        );
    }
    for endpoint in state.tables.gateway_endpoints.values() {
        for table in endpoint.spec.route_tables.iter().filter_map(Input::known) {
            if let Some(table) = tables.get_mut(table) {
                // A route of the file has priority over a route by prefix list.
                // <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>
                let addresses = endpoint_addresses(endpoint.spec.service);
                let route = table.routes.entry(addresses);
                route.or_insert(NextHop::GatewayEndpoint);
            }
        }
    }
    tables
}

fn network_acl(acl: &landfall_network::NetworkAcl) -> NetworkAcl {
    let side = |direction| {
        let entries = acl
            .entries
            .iter()
            .filter(|entry| entry.direction == direction);
        entries
            .map(|entry| {
                let lowered = LoweredAclEntry {
                    allow: entry.action == AclAction::Allow,
                    traffic: traffic(entry.protocol, entry.ports),
                    cidr: entry.cidr,
                };
                (entry.number, lowered)
            })
            .collect()
    };
    NetworkAcl {
        inbound: side(Direction::Ingress),
        outbound: side(Direction::Egress),
    }
}

fn security_groups(state: &State) -> BTreeMap<landfall_provider::SecurityGroupId, SecurityGroup> {
    let mut groups: BTreeMap<_, SecurityGroup> = state
        .tables
        .security_groups
        .keys()
        .map(|id| (id.clone(), SecurityGroup::default()))
        .collect();
    for rules in state.tables.security_group_rules.values() {
        let Some(group) = rules.spec.group.known().and_then(|id| groups.get_mut(id)) else {
            continue;
        };
        for rule in &rules.spec.rules {
            let peer = match &rule.peer {
                landfall_network::Peer::Cidr(cidr) => GroupRulePeer::Cidr(*cidr),
                landfall_network::Peer::Group(id) => match id.known() {
                    Some(id) => GroupRulePeer::Group(id.clone()),
                    None => continue,
                },
            };
            let lowered = GroupRule {
                traffic: traffic(rule.protocol, rule.ports),
                peer,
            };
            match rule.direction {
                Direction::Ingress => group.ingress.insert(lowered),
                Direction::Egress => group.egress.insert(lowered),
            };
        }
    }
    groups
}

fn interfaces(state: &State) -> BTreeMap<InterfaceId, Interface> {
    let mut interfaces = BTreeMap::new();
    for (id, balancer) in &state.tables.load_balancers {
        for node in &balancer.facts.nodes {
            let interface = Interface {
                subnet: node.subnet.clone(),
                address: node.private,
                public_address: Some(node.public),
                security_groups: known(&balancer.spec.groups),
            };
            interfaces.insert(node_interface(id, &node.zone), interface);
        }
    }
    for (id, machine) in state
        .machines
        .iter()
        .filter(|(_, machine)| machine.has_interface())
    {
        let public_address = state
            .tables
            .instances
            .get(id)
            .and_then(|entry: &Entry<Instance>| entry.spec.address.as_ref()?.known())
            .and_then(|address| state.tables.elastic_ips.get(address))
            .map(|address| address.facts.address);
        let interface = Interface {
            subnet: machine.subnet.clone(),
            address: machine.address,
            public_address,
            security_groups: machine.groups.iter().cloned().collect(),
        };
        interfaces.insert(instance_interface(id), interface);
    }
    interfaces
}

fn traffic(protocol: Protocol, ports: PortRange) -> Traffic {
    let ports = PortRange {
        from: ports.from,
        to: ports.to,
    };
    match protocol {
        Protocol::Tcp => Traffic::Tcp(ports),
        Protocol::Udp => Traffic::Udp(ports),
        Protocol::Icmp => Traffic::Icmp(None, None),
        Protocol::All => Traffic::All,
    }
}

fn known<T: ResourceId>(inputs: &[Input<T>]) -> BTreeSet<T> {
    inputs.iter().filter_map(Input::known).cloned().collect()
}
