//! The reachability matrix: the open ports between every pair of endpoints of a network.
//!
//! Interfaces that no rule distinguishes form one group: those in the same subnet with the same
//! security groups, the same sort of public address, and an address on the same side of every block
//! in a rule. Each pair of groups is traced once for all ports together, because a trace carries
//! ranges and not single numbers.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use landfall_provider::Key;
use serde::{Deserialize, Serialize};

use super::flow::{End, Flow};
use super::ranges::Ranges;
use super::topology::{Address, Interface, Role, Topology};
use super::trace::{Index, Tracer};
use crate::security_group_rules::Peer;
use crate::traffic::{PortRange, Protocol};

/// The reachability between all pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    /// The endpoint groups.
    pub parties: Vec<EndpointGroup>,
    /// The traffic that arrives, by group and protocol in order. All other traffic does not.
    pub cells: Vec<Cell>,
}

/// Endpoints with the same reachability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointGroup {
    /// One endpoint, as the representative of the group.
    pub end: End,
    /// The names of all its interfaces, or of the single endpoint.
    pub members: Vec<String>,
}

/// The traffic that arrives between two groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The index of the source group.
    pub from: usize,
    /// The index of the destination group. Within one group, another member is the destination.
    pub to: usize,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports on which all traffic arrives; all ports for ICMP.
    pub ports: Vec<PortRange>,
    /// The ports on which only a part arrives: from some addresses, or to some targets.
    pub in_part: Vec<PortRange>,
}

impl Matrix {
    /// The cell of two groups, if any traffic arrives.
    pub fn cell(&self, from: usize, to: usize, protocol: Protocol) -> Option<&Cell> {
        let wanted = (from, to, protocol);
        let at = self
            .cells
            .binary_search_by_key(&wanted, |cell| (cell.from, cell.to, cell.protocol))
            .ok()?;
        self.cells.get(at)
    }
}

/// Traces every pair: the internet, services behind endpoints, balancers, and interfaces that are not a
/// balancer's nodes.
pub fn matrix(topology: &Topology) -> Matrix {
    let index = Index::new(topology);
    let parties = parties(&index);
    let mut cells = Vec::new();
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
    let mut tracers = protocols.map(|protocol| (protocol, Tracer::new(&index, protocol, false)));
    for (from, source) in parties.iter().enumerate() {
        for (to, target) in parties.iter().enumerate() {
            let Some(ends) = pair(source, target, from == to) else {
                continue;
            };
            for (protocol, tracer) in &mut tracers {
                let (ports, in_part) = arrived(tracer, &ends, *protocol);
                if !ports.is_empty() || !in_part.is_empty() {
                    cells.push(Cell {
                        from,
                        to,
                        protocol: *protocol,
                        ports,
                        in_part,
                    });
                }
            }
        }
    }
    Matrix { parties, cells }
}

/// The representatives of two groups, if a connection between them is possible.
fn pair(source: &EndpointGroup, target: &EndpointGroup, same: bool) -> Option<(End, End)> {
    match (&source.end, &target.end) {
        // Services open no connections, and traffic among outside hosts does not cross this
        // network.
        (End::Service(_), _) | (End::Internet, End::Internet | End::Service(_)) => None,
        (End::Balancer(_), to) if !matches!(to, End::Interface(_)) => None,
        (End::Interface(_), End::Interface(_)) if same => {
            let other = target.members.get(1)?;
            Some((source.end.clone(), End::Interface(other.clone())))
        }
        (from, to) => Some((from.clone(), to.clone())),
    }
}

/// The ports on which all traffic arrives, and those on which only a part does.
fn arrived(
    tracer: &mut Tracer<'_>,
    (from, to): &(End, End),
    protocol: Protocol,
) -> (Vec<PortRange>, Vec<PortRange>) {
    // Connections behind a balancer have their own ports, so each of its listeners is traced
    // separately.
    let asked = match to {
        End::Balancer(key) => listeners(tracer.topology(), key),
        _ => vec![PortRange::ALL],
    };
    let (mut whole, mut in_part) = (Ranges::default(), Ranges::default());
    for ports in asked {
        let flow = Flow {
            from: from.clone(),
            to: to.clone(),
            protocol,
            ports,
            source_ports: None,
        };
        let walks = tracer.follow(&flow).unwrap_or_default();
        let was_stopped = tracer.stopped;
        let stopped = tracer.take_stopped();
        let mut arrived = Ranges::default();
        for piece in walks.iter().flat_map(|walk| &walk.pieces) {
            arrived = arrived.or(piece.service_ports());
        }
        if was_stopped && ports.from == ports.to {
            in_part = in_part.or(&arrived);
        } else {
            whole = whole.or(&arrived.without(&stopped));
            in_part = in_part.or(&arrived.and(&stopped));
        }
    }
    if protocol == Protocol::Icmp {
        let all = |ranges: &Ranges| {
            let any = !ranges.is_empty();
            any.then_some(PortRange::ALL).into_iter().collect()
        };
        return (all(&whole), all(&in_part));
    }
    (whole.port_ranges(), in_part.port_ranges())
}

fn listeners(topology: &Topology, key: &Key) -> Vec<PortRange> {
    let balancer = topology.balancers.get(key);
    let listeners = balancer.into_iter().flat_map(|it| it.listeners.values());
    let ports: BTreeSet<u16> = listeners.map(|listener| listener.port).collect();
    let one = |port| PortRange {
        from: port,
        to: port,
    };
    ports.into_iter().map(one).collect()
}

fn parties(index: &Index<'_>) -> Vec<EndpointGroup> {
    let topology = index.topology;
    let alone = |end: End| EndpointGroup {
        members: vec![end.to_string()],
        end,
    };
    let mut parties = vec![alone(End::Internet)];
    let services: BTreeSet<_> = topology.endpoints.values().map(|it| it.service).collect();
    parties.extend(services.into_iter().map(|it| alone(End::Service(it))));
    let balancers = topology.balancers.keys().cloned();
    parties.extend(balancers.map(|key| alone(End::Balancer(key))));
    let cuts = cuts(topology);
    let mut classes: BTreeMap<Class<'_>, Vec<String>> = BTreeMap::new();
    for (name, interface) in &topology.interfaces {
        if !matches!(interface.role, Role::Node(_)) {
            let class = Class::of(topology, name, interface, &cuts);
            classes.entry(class).or_default().push(name.clone());
        }
    }
    let mut classes: Vec<Vec<String>> = classes.into_values().collect();
    classes.sort();
    let of_class = |members: Vec<String>| {
        let end = End::Interface(members.first()?.clone());
        Some(EndpointGroup { end, members })
    };
    parties.extend(classes.into_iter().filter_map(of_class));
    parties
}

/// The properties by which rules distinguish an interface.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class<'a> {
    subnet: &'a Key,
    groups: &'a BTreeSet<Key>,
    address: Option<usize>,
    public: Option<Option<usize>>,
    /// Its target groups.
    targets: Vec<&'a Key>,
}

impl<'a> Class<'a> {
    fn of(topology: &'a Topology, name: &str, interface: &'a Interface, cuts: &[u32]) -> Self {
        let side = |address: Address| {
            let address = u32::from(address.known()?);
            Some(cuts.partition_point(|cut| *cut <= address))
        };
        let groups = topology.target_groups.iter();
        Self {
            subnet: &interface.subnet,
            groups: &interface.groups,
            address: side(interface.address),
            public: interface.public.map(side),
            targets: groups
                .filter(|(_, group)| group.targets.contains(name))
                .map(|(key, _)| key)
                .collect(),
        }
    }
}

/// The boundaries of all blocks in rules, in order.
fn cuts(topology: &Topology) -> Vec<u32> {
    let groups = topology.security_groups.values();
    let of_groups = groups
        .flat_map(|group| &group.rules)
        .filter_map(|rule| match &rule.peer {
            Peer::Cidr(net) => Some(*net),
            Peer::Group(_) => None,
        });
    let acls = topology.network_acls.values();
    let of_acls = acls.flat_map(|acl| &acl.entries).map(|entry| entry.cidr);
    let tables = topology.route_tables.values();
    let of_tables = tables.flat_map(|table| table.routes.keys()).copied();
    let ends = |net: Ipv4Net| {
        let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
        [first, last.saturating_add(1)]
    };
    let cuts: BTreeSet<u32> = of_groups
        .chain(of_acls)
        .chain(of_tables)
        .flat_map(ends)
        .collect();
    cuts.into_iter().collect()
}
