//! Security groups: stateful, so only the opening of a connection is checked.

use std::collections::BTreeSet;

use landfall_provider::Key;

use super::index::{Allowed, AllowedPeer};
use super::packet_set::{PacketSet, PortField, all_ports, merge};
use super::remedies;
use super::walk::{Opener, Stop, Tracer, Walk};
use crate::reach::topology::{Address, Interface};
use crate::reach::verdict::{Code, HopLocation, Rule, shown};
use crate::traffic::{Direction, PortRange, Protocol};

impl<'a> Tracer<'a> {
    /// Checks the security groups of an interface for a connection to it or from it.
    ///
    /// They are stateful: answers are not checked.
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
        let allowed = self.index.rules(name, direction);
        for one in allowed {
            if rest.is_empty() {
                break;
            }
            if !self.matches(one.rule.protocol) {
                continue;
            }
            let addresses = match &one.peer {
                AllowedPeer::Anybody => None,
                AllowedPeer::Addresses(addresses) => Some(addresses),
                AllowedPeer::Members(group) if self.is_member(peer, group) => None,
                AllowedPeer::Members(_) => continue,
            };
            let ports = self.ports(one.ports.as_ref());
            let before = walk.pieces.len();
            for piece in std::mem::take(&mut rest) {
                let (inside, outside) = piece.split(who, addresses, PortField::Service, ports);
                walk.pieces.extend(inside);
                rest.extend(outside);
            }
            if self.records && walk.pieces.len() > before {
                rules.push(Rule::Group {
                    group: one.group.clone(),
                    index: one.index,
                    description: one.rule.description.clone(),
                });
            }
        }
        if !rest.is_empty() {
            self.stop_at_groups(&walk, &rest, (name, direction), (peer, opener));
        }
        walk.pieces = merge(walk.pieces);
        if self.records {
            let at = groups_place(name, interface, &rules);
            self.hop(&mut walk, at, rules, ends);
        }
        walk
    }

    fn stop_at_groups(
        &mut self,
        walk: &Walk,
        rest: &[PacketSet],
        (name, direction): (&'a str, Direction),
        (peer, opener): (Option<&'a str>, Opener<'a>),
    ) {
        let ends = opener.request();
        let index = self.index;
        // A rule for the group of the interface behind the gateway would have allowed it.
        let allowed = index.rules(name, direction);
        let hidden = opener.hidden.filter(|hidden| {
            let asked = all_ports(rest, PortField::Service);
            direction == Direction::Ingress
                && allowed.iter().any(|one| {
                    let of_group = matches!(one.peer, AllowedPeer::Members(group) if self.is_member(Some(hidden), group));
                    let ports = self.ports(one.ports.as_ref());
                    let of_ports = ports.is_none_or(|ports| !asked.and(ports).is_empty());
                    of_group && self.matches(one.rule.protocol) && of_ports
                })
        });
        self.stop(walk, rest, ends, |packet| {
            let at = match index.interface(name) {
                Some(interface) => groups_place(name, interface, &[]),
                None => HopLocation::Interface(name.to_owned()),
            };
            let word = direction.to_string();
            let other = match direction {
                Direction::Ingress => packet.source,
                Direction::Egress => packet.destination,
            };
            let other = peer.map_or_else(|| shown(other), str::to_owned);
            let asked = packet.asked();
            let (code, reason) = match (hidden, direction) {
                (Some(hidden), _) => (
                    Code::NgwSourceAddressReassign,
                    format!(
                        "{at} lets {hidden} in by its group, but behind the NAT gateway it comes from {other}"
                    ),
                ),
                (None, _) if allowed.is_empty() => (
                    Code::SgHasNoRules,
                    format!("{at} has no {word} rule at all"),
                ),
                (None, Direction::Ingress) => (
                    Code::EniSgRulesMismatch,
                    format!("no {word} rule of {at} lets {other} in to {asked}"),
                ),
                (None, Direction::Egress) => (
                    Code::EniSgRulesMismatch,
                    format!("no {word} rule of {at} lets {name} out to {asked} of {other}"),
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

    /// Whether the groups on both sides might allow any traffic from one interface to the other: a
    /// cheap answer without any set, for the many pairs that need no more.
    pub(super) fn may_connect(&self, from: &'a str, to: &'a str) -> bool {
        let (source, target) = (self.index.interface(from), self.index.interface(to));
        let concerns = |one: &Allowed<'a>, peer: Option<&Interface>| {
            self.matches(one.rule.protocol)
                && match &one.peer {
                    AllowedPeer::Anybody => true,
                    AllowedPeer::Addresses(addresses) => match peer.map(|it| it.address) {
                        Some(Address::Known(address)) => addresses.contains(address.into()),
                        _ => true,
                    },
                    AllowedPeer::Members(group) => {
                        peer.is_some_and(|peer| peer.groups.contains(*group))
                    }
                }
        };
        let has_ports = matches!(self.protocol, Protocol::Tcp | Protocol::Udp);
        let meet = |one: PortRange, other: PortRange| {
            !has_ports || (one.from <= other.to && other.from <= one.to)
        };
        let outgoing = self.index.rules(from, Direction::Egress).iter();
        let incoming = self.index.rules(to, Direction::Ingress);
        let mut outgoing = outgoing.filter(|one| concerns(one, target));
        outgoing.any(|out| {
            incoming
                .iter()
                .any(|one| meet(out.rule.ports, one.rule.ports) && concerns(one, source))
        })
    }

    fn is_member(&self, interface: Option<&str>, group: &Key) -> bool {
        let interface = interface.and_then(|name| self.index.interface(name));
        interface.is_some_and(|interface| interface.groups.contains(group))
    }
}

/// The groups of these rules; without rules, all groups of the interface.
fn groups_place(name: &str, interface: &Interface, rules: &[Rule]) -> HopLocation {
    let of_rules = rules.iter().filter_map(|rule| match rule {
        Rule::Group { group, .. } => Some(group.clone()),
        Rule::Entry { .. } | Rule::Route(_) => None,
    });
    let mut groups: BTreeSet<Key> = of_rules.collect();
    if groups.is_empty() {
        groups.clone_from(&interface.groups);
    }
    HopLocation::SecurityGroups {
        interface: name.to_owned(),
        groups: groups.into_iter().collect(),
    }
}
