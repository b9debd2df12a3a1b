//! A walk: one path through the network, and the checks along it.

use std::collections::BTreeMap;

use landfall_provider::Key;

use super::index::Index;
use super::packet_set::{AddressField, PacketSet, PortField, all_addresses, all_ports, merge};
use super::remedies;
use crate::network_acl::AclAction;
use crate::reach::ranges::Ranges;
use crate::reach::remedy::Remedy;
use crate::reach::topology::Topology;
use crate::reach::verdict::{Block, Code, FlowDirection, Hop, HopLocation, Packet, Reach, Rule};
use crate::traffic::{Direction, Protocol};

/// The packets that are still in transit, and their path so far.
#[derive(Debug, Clone, Default)]
pub(in crate::reach) struct Walk {
    pub(in crate::reach) pieces: Vec<PacketSet>,
    pub(super) hops: Vec<Hop>,
}

impl Walk {
    pub(super) fn new(piece: PacketSet) -> Self {
        Self {
            pieces: vec![piece],
            hops: Vec::new(),
        }
    }

    /// The same path so far, with a part of the packets.
    pub(super) fn with(&self, pieces: Vec<PacketSet>) -> Self {
        Self {
            pieces,
            hops: self.hops.clone(),
        }
    }
}

/// The two ends of a packet at one hop: the fields that hold its addresses and ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) from: AddressField,
    pub(super) to: AddressField,
    pub(super) port: PortField,
    pub(super) leg: FlowDirection,
}

/// The opener of a connection, as the far side sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opener<'a> {
    /// The interface behind a NAT gateway that opened the connection.
    pub(super) hidden: Option<&'a str>,
    pub(super) who: AddressField,
    pub(super) ports: PortField,
    /// Whether the ports are those of a NAT gateway or a balancer.
    pub(super) remaps: bool,
}

impl Opener<'_> {
    pub(super) fn request(&self) -> Ends {
        Ends {
            from: self.who,
            to: AddressField::Destination,
            port: PortField::Service,
            leg: FlowDirection::Request,
        }
    }

    pub(super) fn answer(&self) -> Ends {
        Ends {
            from: AddressField::Destination,
            to: self.who,
            port: self.ports,
            leg: FlowDirection::Return,
        }
    }
}

/// Traces walks, and records the first block.
pub(in crate::reach) struct Tracer<'a> {
    pub(super) index: &'a Index<'a>,
    pub(super) protocol: Protocol,
    /// Whether to record hops and blocks, or only the packets that arrive.
    pub(super) records: bool,
    /// Whether any packets were blocked.
    pub(in crate::reach) stopped: bool,
    /// The destination ports of blocked packets: only without recording.
    stopped_ports: Vec<Ranges>,
    /// The results of a balancer node's connections to a target group, which are the same for every
    /// client: only without recording.
    pub(super) forwarded: BTreeMap<(&'a str, &'a Key), Reach>,
    /// The first block, and the path up to it.
    pub(super) first: Option<(Vec<Hop>, Block)>,
}

/// The reason for a block.
pub(super) struct Stop {
    pub(super) code: Code,
    pub(super) at: HopLocation,
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
            stopped_ports: Vec::new(),
            forwarded: BTreeMap::new(),
            first: None,
        }
    }

    pub(in crate::reach) fn topology(&self) -> &'a Topology {
        self.index.topology
    }

    /// Clears the record of blocked packets, and returns their destination ports.
    pub(in crate::reach) fn take_stopped(&mut self) -> Ranges {
        self.stopped = false;
        let ports = self.stopped_ports.drain(..);
        ports.fold(Ranges::default(), |all, ports| all.or(&ports))
    }

    pub(super) fn packet(&self, pieces: &[PacketSet], ends: Ends) -> Packet {
        Packet {
            source: all_addresses(pieces, ends.from).cover(),
            destination: all_addresses(pieces, ends.to).cover(),
            protocol: self.protocol,
            ports: all_ports(pieces, ends.port).port_span(),
        }
    }

    /// Adds a hop without rules.
    pub(super) fn pass(&self, walk: &mut Walk, at: HopLocation, ends: Ends) {
        self.hop(walk, at, Vec::new(), ends);
    }

    pub(super) fn hop(&self, walk: &mut Walk, at: HopLocation, rules: Vec<Rule>, ends: Ends) {
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

    /// Records that these packets are blocked here.
    pub(super) fn stop(
        &mut self,
        walk: &Walk,
        pieces: &[PacketSet],
        ends: Ends,
        why: impl FnOnce(&Packet) -> Stop,
    ) {
        if pieces.is_empty() {
            return;
        }
        self.stopped = true;
        if !self.records {
            let ports = pieces
                .iter()
                .map(|piece| piece.ports(PortField::Service).clone());
            self.stopped_ports.extend(ports);
            return;
        }
        if self.first.is_some() {
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

    pub(super) fn matches(&self, protocol: Protocol) -> bool {
        protocol == Protocol::All || protocol == self.protocol
    }

    /// A rule's ports; `None` for protocols without ports.
    pub(super) fn ports<'p>(&self, ports: Option<&'p Ranges>) -> Option<&'p Ranges> {
        match self.protocol {
            Protocol::Tcp | Protocol::Udp => ports,
            Protocol::Icmp | Protocol::All => None,
        }
    }

    /// Checks the network ACL of a subnet for a packet that crosses its border.
    ///
    /// The entry with the lowest number that matches decides. ACLs are stateless: answers are
    /// checked like all packets.
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
            let at = HopLocation::NetworkAcl {
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
        let place = || HopLocation::NetworkAcl {
            subnet: subnet.clone(),
            acl: Some(acl.clone()),
        };
        let code = match (ends.leg, remaps) {
            (FlowDirection::Return, true) => Code::RemapEphemeralPort,
            _ => Code::SubnetAclRestriction,
        };
        let stop = |number: Option<u16>, packet: &Packet| {
            let rule = Rule::Entry { direction, number };
            let what = match ends.leg {
                FlowDirection::Request => "",
                FlowDirection::Return => "the answers, ",
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
            let ports = self.ports(entry.ports.as_ref());
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
}
