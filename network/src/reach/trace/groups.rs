//! Security groups: stateful, asked about whoever opens a connection.

use landfall_provider::Key;

use super::piece::{Piece, Which, all_ports, merge};
use super::remedies;
use super::walk::{Opener, Stop, Tracer, Walk};
use crate::reach::ranges::Ranges;
use crate::reach::topology::{GroupRule, Peer};
use crate::reach::verdict::{Code, Place, Rule, shown};
use crate::traffic::Direction;

impl<'a> Tracer<'a> {
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
                (None, _) if !any => (
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
}
