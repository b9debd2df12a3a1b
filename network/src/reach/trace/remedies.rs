//! Finds the least change that lets a blocked packet pass.

use ipnet::Ipv4Net;
use landfall_provider::{Key, ResourceName, kind};

use super::index::Index;
use crate::network_acl::{AclAction, AclEntry};
use crate::reach::remedy::{Remedy, free_number, free_table};
use crate::reach::topology::Target;
use crate::reach::verdict::Packet;
use crate::security_group_rules::{Peer, SecurityRule};
use crate::traffic::{Direction, PortRange, Protocol};

/// A rule that allows the packet out of, or into, an interface: by group where the other end is
/// visible as a member of one, so that the rule stays valid when its address changes.
pub(super) fn group_rule(
    index: &Index<'_>,
    interface: &str,
    direction: Direction,
    peer: Option<&str>,
    packet: &Packet,
) -> Option<Remedy> {
    let group = smallest_group(index, interface)?;
    let peer_group = peer.and_then(|peer| smallest_group(index, peer));
    let peer = match (peer_group, direction) {
        (Some(group), _) => Peer::Group(group.clone()),
        (None, Direction::Ingress) => Peer::Cidr(packet.source),
        (None, Direction::Egress) => Peer::Cidr(packet.destination),
    };
    let rule = SecurityRule {
        direction,
        protocol: packet.protocol,
        ports: ports(packet),
        peer,
        description: String::new(),
    };
    Some(Remedy::AddGroupRule {
        group: group.clone(),
        rule,
    })
}

/// The group of an interface with the fewest members, so that the new rule applies to as few others
/// as possible.
fn smallest_group<'a>(index: &Index<'a>, interface: &str) -> Option<&'a Key> {
    let topology = index.topology;
    let interface = topology.interfaces.get(interface)?;
    let there = interface
        .groups
        .iter()
        .filter(|group| topology.security_groups.contains_key(*group));
    there.min_by_key(|group| {
        let interfaces = topology.interfaces.values();
        interfaces.filter(|it| it.groups.contains(*group)).count()
    })
}

/// An entry that allows the packet across a border.
pub(super) fn acl_entry(
    index: &Index<'_>,
    acl: &Key,
    direction: Direction,
    deny: Option<u16>,
    packet: &Packet,
) -> Option<Remedy> {
    let entries = &index.topology.network_acls.get(acl)?.entries;
    let entry = AclEntry {
        number: free_number(entries, direction, deny)?,
        direction,
        action: AclAction::Allow,
        protocol: packet.protocol,
        ports: ports(packet),
        cidr: match direction {
            Direction::Ingress => packet.source,
            Direction::Egress => packet.destination,
        },
    };
    Some(Remedy::AddAclEntry {
        acl: acl.clone(),
        entry,
    })
}

fn ports(packet: &Packet) -> PortRange {
    match packet.protocol {
        Protocol::Tcp | Protocol::Udp => packet.ports,
        Protocol::Icmp | Protocol::All => PortRange::ALL,
    }
}

/// A route out for an interface with (or without) a public address, from a subnet without a route
/// for this destination.
pub(super) fn route(
    index: &Index<'_>,
    subnet: &Key,
    destination: Ipv4Net,
    zone_of: &Key,
    public: bool,
) -> Option<Remedy> {
    let via = way_out(index, zone_of, public)?;
    match &index.subnet(subnet)?.route_table {
        Some(table) if index.topology.route_tables.contains_key(table) => Some(Remedy::SetRoute {
            table: table.clone(),
            destination,
            via,
        }),
        _ => Some(Remedy::AddRouteTable {
            table: free_table(index.topology, subnet)?,
            subnet: subnet.clone(),
            destination,
            via,
        }),
    }
}

/// The existing gateway to the internet: the internet gateway for an interface with a public
/// address, and a NAT gateway for others, in the same zone if possible.
pub(super) fn way_out(index: &Index<'_>, zone_of: &Key, public: bool) -> Option<Target> {
    let topology = index.topology;
    if public {
        let gateway = topology.internet_gateway.as_ref()?;
        return Some(Target::InternetGateway(gateway.clone()));
    }
    let zone = &index.subnet(zone_of)?.zone;
    let gateways = || topology.nat_gateways.iter();
    let same_zone = gateways().find(|(_, gateway)| {
        index
            .subnet(&gateway.subnet)
            .is_some_and(|subnet| subnet.zone == *zone)
    });
    let (gateway, _) = same_zone.or_else(|| gateways().next())?;
    Some(Target::NatGateway(gateway.clone()))
}

/// A route to the internet gateway, for packets that another route takes elsewhere: replaces that
/// route if it serves nothing else, and is more specific if it does.
pub(super) fn reroute(index: &Index<'_>, subnet: &Key, packet: &Packet) -> Option<Remedy> {
    let gateway = index.topology.internet_gateway.as_ref()?;
    Some(Remedy::SetRoute {
        table: index.table(subnet)?.0.clone(),
        destination: packet.destination,
        via: Target::InternetGateway(gateway.clone()),
    })
}

/// An internet gateway for a VPC without one, under the name that existing routes use.
pub(super) fn internet_gateway(index: &Index<'_>) -> Option<Remedy> {
    let tables = index.topology.route_tables.values();
    let named = tables
        .flat_map(|table| table.routes.values())
        .find_map(|target| match target {
            Target::InternetGateway(gateway) => Some(gateway.clone()),
            Target::NatGateway(_) => None,
        });
    let gateway = match named {
        Some(gateway) => gateway,
        None => Key::new(kind::INTERNET_GATEWAY, ResourceName::new("main").ok()?),
    };
    Some(Remedy::AttachInternetGateway { gateway })
}
