//! One way through the network, and the checks that stand along it.

use landfall_provider::Key;

use super::index::{Index, Routed, Way, some_ports};
use super::piece::{Piece, Which, Who, all_addresses, all_ports, merge};
use super::remedies;
use crate::network_acl::AclAction;
use crate::reach::ranges::Ranges;
use crate::reach::remedy::Remedy;
use crate::reach::topology::{GroupRule, Peer};
use crate::reach::verdict::{Block, Code, Hop, Leg, Packet, Place, Rule, shown};
use crate::traffic::{Direction, PortRange, Protocol};

/// What is still under way, and where it has been.
#[derive(Debug, Clone, Default)]
pub(in crate::reach) struct Walk {
    pub(in crate::reach) pieces: Vec<Piece>,
    pub(super) hops: Vec<Hop>,
}

impl Walk {
    pub(super) fn new(piece: Piece) -> Self {
        Self {
            pieces: vec![piece],
            hops: Vec::new(),
        }
    }

    /// The same way so far, with a part of what is under way.
    fn with(&self, pieces: Vec<Piece>) -> Self {
        Self {
            pieces,
            hops: self.hops.clone(),
        }
    }
}

/// A packet's two ends, at one place: whose addresses and ports stand in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) from: Who,
    pub(super) to: Who,
    pub(super) port: Which,
    pub(super) leg: Leg,
}

/// Who opened a connection, as the far side sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opener<'a> {
    /// The interface behind a NAT gateway that the connection is for.
    pub(super) hidden: Option<&'a str>,
    pub(super) who: Who,
    pub(super) ports: Which,
    /// Whether the ports are those of a NAT gateway or a balancer.
    pub(super) remaps: bool,
}

impl Opener<'_> {
    pub(super) fn request(&self) -> Ends {
        Ends {
            from: self.who,
            to: Who::Destination,
            port: Which::Service,
            leg: Leg::Request,
        }
    }

    pub(super) fn answer(&self) -> Ends {
        Ends {
            from: Who::Destination,
            to: self.who,
            port: self.ports,
            leg: Leg::Answer,
        }
    }
}

/// Walks, and notes what is stopped first.
pub(in crate::reach) struct Tracer<'a> {
    pub(super) index: &'a Index<'a>,
    pub(super) protocol: Protocol,
    /// Whether hops and blocks are wanted, or only what arrives.
    pub(super) records: bool,
    pub(super) stopped: bool,
    /// What was stopped first, and the way up to there.
    pub(super) first: Option<(Vec<Hop>, Block)>,
}

/// Why something is stopped.
pub(super) struct Stop {
    pub(super) code: Code,
    pub(super) at: Place,
    pub(super) rule: Option<Rule>,
    pub(super) reason: String,
    pub(super) remedy: Option<Remedy>,
}

impl<'a> Tracer<'a> {
    pub(in crate::reach) fn new(index: &'a Index<'a>, protocol: Protocol, records: bool) -> Self {
        Self {
            index,
            protocol,
            records,
            stopped: false,
            first: None,
        }
    }

    fn packet(&self, pieces: &[Piece], ends: Ends) -> Packet {
        Packet {
            source: all_addresses(pieces, ends.from).cover(),
            destination: all_addresses(pieces, ends.to).cover(),
            protocol: self.protocol,
            ports: all_ports(pieces, ends.port).port_span(),
        }
    }

    /// Adds a hop that has no say.
    pub(super) fn pass(&self, walk: &mut Walk, at: Place, ends: Ends) {
        self.hop(walk, at, Vec::new(), ends);
    }

    pub(super) fn hop(&self, walk: &mut Walk, at: Place, rules: Vec<Rule>, ends: Ends) {
        if self.records && !walk.pieces.is_empty() {
            let packet = self.packet(&walk.pieces, ends);
            walk.hops.push(Hop {
                leg: ends.leg,
                at,
                rules,
                packet,
            });
        }
    }

    /// Notes that these pieces end here.
    pub(super) fn stop(
        &mut self,
        walk: &Walk,
        pieces: &[Piece],
        ends: Ends,
        why: impl FnOnce(&Packet) -> Stop,
    ) {
        if pieces.is_empty() {
            return;
        }
        self.stopped = true;
        if !self.records || self.first.is_some() {
            return;
        }
        let packet = self.packet(pieces, ends);
        let stop = why(&packet);
        let block = Block {
            code: stop.code,
            leg: ends.leg,
            at: stop.at,
            rule: stop.rule,
            packet,
            reason: stop.reason,
            remedy: stop.remedy,
        };
        self.first = Some((walk.hops.clone(), block));
    }

    /// The security groups of an interface, asked about who opens a connection to it or from it.
    ///
    /// They are stateful: nobody asks them about answers.
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>
    pub(super) fn groups(
        &mut self,
        mut walk: Walk,
        name: &'a str,
        direction: Direction,
        peer: Option<&'a str>,
        opener: Opener<'a>,
    ) -> Walk {
        let Some(interface) = self.index.interface(name) else {
            return Walk::default();
        };
        let ends = opener.request();
        let who = match direction {
            Direction::Ingress => ends.from,
            Direction::Egress => ends.to,
        };
        let mut rest = std::mem::take(&mut walk.pieces);
        let mut rules = Vec::new();
        let mut any = false;
        for (group, index, rule) in self.rules_of(name, direction) {
            any = true;
            if rest.is_empty() {
                break;
            }
            if !self.matches(rule.protocol) {
                continue;
            }
            let addresses = match &rule.peer {
                Peer::Cidr(net) => Some(Ranges::net(*net)),
                Peer::Group(group) if self.is_member(peer, group) => None,
                Peer::Group(_) => continue,
                Peer::Service(service) => {
                    let of_service = self.index.topology.endpoints.values();
                    let prefixes = of_service
                        .filter(|endpoint| endpoint.service == *service)
                        .flat_map(|endpoint| &endpoint.prefixes);
                    Some(Ranges::nets(prefixes))
                }
            };
            let ports = self.ports(rule.ports);
            let before = walk.pieces.len();
            for piece in std::mem::take(&mut rest) {
                let (inside, outside) =
                    piece.split(who, addresses.as_ref(), Which::Service, ports.as_ref());
                walk.pieces.extend(inside);
                rest.extend(outside);
            }
            if self.records && walk.pieces.len() > before {
                rules.push(Rule::Group {
                    group: group.clone(),
                    index,
                    description: rule.description.clone(),
                });
            }
        }
        let place = |rules: &[Rule]| {
            let of_rules: Vec<Key> = rules
                .iter()
                .filter_map(|rule| match rule {
                    Rule::Group { group, .. } => Some(group.clone()),
                    _ => None,
                })
                .collect();
            let mut groups = of_rules;
            if groups.is_empty() {
                groups = interface.groups.iter().cloned().collect();
            }
            groups.sort();
            groups.dedup();
            Place::SecurityGroups {
                interface: name.to_owned(),
                groups,
            }
        };
        self.stop_at_groups(&walk, &rest, (name, direction), (peer, opener), any, || {
            place(&[])
        });
        walk.pieces = merge(walk.pieces);
        if self.records {
            let at = place(&rules);
            self.hop(&mut walk, at, rules, ends);
        }
        walk
    }

    fn stop_at_groups(
        &mut self,
        walk: &Walk,
        rest: &[Piece],
        (name, direction): (&'a str, Direction),
        (peer, opener): (Option<&'a str>, Opener<'a>),
        any: bool,
        place: impl FnOnce() -> Place,
    ) {
        let ends = opener.request();
        let index = self.index;
        // A rule for the group of the one behind the gateway would have let it in.
        let hidden = opener.hidden.filter(|hidden| {
            direction == Direction::Ingress
                && self.rules_of(name, direction).any(|(_, _, rule)| {
                    let port = |range: (u32, u32)| {
                        (range.0..=range.1).any(|port| {
                            u16::try_from(port).is_ok_and(|port| rule.ports.contains(port))
                        })
                    };
                    let ports = all_ports(rest, Which::Service);
                    self.matches(rule.protocol)
                        && matches!(&rule.peer, Peer::Group(group) if self.is_member(Some(hidden), group))
                        && ports.iter().any(port)
                })
        });
        self.stop(walk, rest, ends, |packet| {
            let at = place();
            let (side, word) = match direction {
                Direction::Ingress => ("in", "ingress"),
                Direction::Egress => ("out", "egress"),
            };
            let (code, reason) = match hidden {
                Some(hidden) => (
                    Code::NgwSourceAddressReassign,
                    format!(
                        "{at} lets {hidden} in by its group, but behind the NAT gateway it comes from {}",
                        shown(packet.source)
                    ),
                ),
                None if !any => (
                    Code::SgHasNoRules,
                    format!("{at} has no {word} rule, and {packet} needs one to get {side}"),
                ),
                None => (
                    Code::EniSgRulesMismatch,
                    format!("no {word} rule of {at} lets {packet} {side}"),
                ),
            };
            let remedy = remedies::group_rule(index, name, direction, peer, packet);
            Stop {
                code,
                at,
                rule: None,
                reason,
                remedy,
            }
        });
    }

    /// The rules of all groups of an interface, with their place in the group.
    fn rules_of(
        &self,
        interface: &str,
        direction: Direction,
    ) -> impl Iterator<Item = (&'a Key, usize, &'a GroupRule)> + use<'a> {
        let topology = self.index.topology;
        let interface = topology.interfaces.get(interface);
        interface
            .into_iter()
            .flat_map(|interface| &interface.groups)
            .filter_map(|key| Some((key, topology.security_groups.get(key)?)))
            .flat_map(|(key, group)| {
                let rules = group.rules.iter().enumerate();
                rules.map(move |(index, rule)| (key, index, rule))
            })
            .filter(move |(_, _, rule)| rule.direction == direction)
    }

    fn is_member(&self, interface: Option<&str>, group: &Key) -> bool {
        let interface = interface.and_then(|name| self.index.interface(name));
        interface.is_some_and(|interface| interface.groups.contains(group))
    }

    fn matches(&self, protocol: Protocol) -> bool {
        protocol == Protocol::All || protocol == self.protocol
    }

    /// A rule's ports; `None` where they say nothing.
    fn ports(&self, ports: PortRange) -> Option<Ranges> {
        match self.protocol {
            Protocol::Tcp | Protocol::Udp => some_ports(ports),
            Protocol::Icmp | Protocol::All => None,
        }
    }

    /// The network ACL of a subnet, asked about a packet that crosses its border.
    ///
    /// The entry with the lowest number that matches decides, and nothing is remembered: answers are
    /// asked about like everything else.
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>
    pub(super) fn acl(
        &mut self,
        mut walk: Walk,
        subnet: &'a Key,
        direction: Direction,
        ends: Ends,
        remaps: bool,
    ) -> Walk {
        let index = self.index;
        let Some((acl, entries)) = index.acl(subnet, direction) else {
            let at = Place::NetworkAcl {
                subnet: subnet.clone(),
                acl: None,
            };
            self.pass(&mut walk, at, ends);
            return walk;
        };
        let who = match direction {
            Direction::Ingress => ends.from,
            Direction::Egress => ends.to,
        };
        let place = || Place::NetworkAcl {
            subnet: subnet.clone(),
            acl: Some(acl.clone()),
        };
        let code = match (ends.leg, remaps) {
            (Leg::Answer, true) => Code::RemapEphemeralPort,
            _ => Code::SubnetAclRestriction,
        };
        let stop = |number: Option<u16>, packet: &Packet| {
            let rule = Rule::Entry { direction, number };
            let what = match ends.leg {
                Leg::Request => "",
                Leg::Answer => "the answers, ",
            };
            Stop {
                code,
                at: place(),
                reason: format!("{rule} of {acl} denies {what}{packet}"),
                rule: Some(rule),
                remedy: remedies::acl_entry(index, acl, direction, number, packet),
            }
        };
        let mut rest = std::mem::take(&mut walk.pieces);
        let mut rules = Vec::new();
        for entry in entries {
            if rest.is_empty() {
                break;
            }
            if !self.matches(entry.entry.protocol) {
                continue;
            }
            let ports = match self.protocol {
                Protocol::Tcp | Protocol::Udp => entry.ports.as_ref(),
                Protocol::Icmp | Protocol::All => None,
            };
            let mut matched = Vec::new();
            for piece in std::mem::take(&mut rest) {
                let (inside, outside) = piece.split(who, Some(&entry.addresses), ends.port, ports);
                matched.extend(inside);
                rest.extend(outside);
            }
            if matched.is_empty() {
                continue;
            }
            let number = Some(entry.entry.number);
            match entry.entry.action {
                AclAction::Allow => {
                    walk.pieces.extend(matched);
                    if self.records {
                        rules.push(Rule::Entry { direction, number });
                    }
                }
                AclAction::Deny => {
                    self.stop(&walk, &matched, ends, |packet| stop(number, packet));
                }
            }
        }
        self.stop(&walk, &rest, ends, |packet| stop(None, packet));
        walk.pieces = merge(walk.pieces);
        if self.records {
            self.hop(&mut walk, place(), rules, ends);
        }
        walk
    }

    /// The way that a subnet's route table leads packets to addresses outside the VPC.
    ///
    /// The longest prefix wins. <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>
    pub(super) fn routes(
        &mut self,
        walk: Walk,
        subnet: &'a Key,
        ends: Ends,
        zone_of: &'a Key,
        public: bool,
    ) -> Vec<(Way<'a>, Rule, Walk)> {
        let index = self.index;
        let (table, routes) = match index.table(subnet) {
            Some((table, routes)) => (Some(table), routes),
            None => (None, &[][..]),
        };
        let place = || Place::RouteTable {
            subnet: subnet.clone(),
            table: table.cloned(),
        };
        let mut ways = Vec::new();
        let mut rest = walk.pieces.clone();
        for (at, route) in routes.iter().enumerate() {
            let mut matched = Vec::new();
            for piece in std::mem::take(&mut rest) {
                let (inside, outside) =
                    piece.split(ends.to, Some(&route.addresses), ends.port, None);
                matched.extend(inside);
                rest.extend(outside);
            }
            if matched.is_empty() {
                continue;
            }
            let rule = Rule::Route(route.destination);
            if route.alive {
                ways.push((route.way, rule, walk.with(matched)));
                continue;
            }
            self.stop(&walk, &matched, ends, |packet| {
                dead_route(
                    index,
                    place(),
                    table,
                    route,
                    &routes[at + 1..],
                    packet,
                    (zone_of, public),
                )
            });
        }
        self.stop(&walk, &rest, ends, |packet| {
            let way_out = routes
                .iter()
                .find(|route| route.alive && !matches!(route.way, Way::Endpoint(_)));
            let destination = shown(packet.destination);
            let (code, reason) = match way_out {
                Some(route) => (
                    Code::CannotRoute,
                    format!(
                        "{} leads out for {}, and {destination} is not in it",
                        place(),
                        route.destination
                    ),
                ),
                None => (
                    Code::NoRouteToDestination,
                    format!("{} has no route to {destination}", place()),
                ),
            };
            Stop {
                code,
                at: place(),
                rule: way_out.map(|route| Rule::Route(route.destination)),
                reason,
                remedy: remedies::route(index, subnet, packet.destination, zone_of, public),
            }
        });
        ways
    }

    /// The hop at a subnet's route table.
    pub(super) fn routed(&self, walk: &mut Walk, subnet: &Key, rule: Rule, ends: Ends) {
        if self.records {
            let at = Place::RouteTable {
                subnet: subnet.clone(),
                table: self.index.table(subnet).map(|(table, _)| table.clone()),
            };
            self.hop(walk, at, vec![rule], ends);
        }
    }
}

fn dead_route(
    index: &Index<'_>,
    at: Place,
    table: Option<&Key>,
    route: &Routed<'_>,
    less_specific: &[Routed<'_>],
    packet: &Packet,
    (zone_of, public): (&Key, bool),
) -> Stop {
    let gone = match route.way {
        Way::InternetGateway(key) | Way::NatGateway(key) | Way::Endpoint(key) => key,
    };
    let destination = Ranges::net(packet.destination);
    let hidden = less_specific
        .iter()
        .find(|other| other.alive && destination.within(&other.addresses));
    let table = table.cloned();
    let (code, reason, remedy) = match hidden {
        Some(hidden) => (
            Code::MoreSpecificRoute,
            format!(
                "the route for {} in {at} leads to {gone}, which is not there, and comes before the one for {}",
                route.destination, hidden.destination
            ),
            table.map(|table| Remedy::RemoveRoute {
                table,
                destination: route.destination,
            }),
        ),
        None => (
            Code::BadStateRoute,
            format!(
                "the route for {} in {at} leads to {gone}, which is not there",
                route.destination
            ),
            match route.way {
                Way::InternetGateway(gateway) if index.topology.internet_gateway.is_none() => {
                    Some(Remedy::AttachInternetGateway {
                        gateway: gateway.clone(),
                    })
                }
                _ => remedies::way_out(index, zone_of, public).and_then(|via| {
                    Some(Remedy::SetRoute {
                        table: table?,
                        destination: route.destination,
                        via,
                    })
                }),
            },
        ),
    };
    Stop {
        code,
        at,
        rule: Some(Rule::Route(route.destination)),
        reason,
        remedy,
    }
}
