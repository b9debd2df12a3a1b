//! Load balancers: accept connections at their listeners, and open connections to targets.
//!
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/introduction.html>.
//! Requests go to targets in every zone, the default of application load balancers.

use landfall_provider::Key;

use super::packet_set::{self, AddressField, PortField};
use super::paths::{self, opener};
use super::walk::{Stop, Tracer, Walk};
use super::{Ask, FROM_OUTSIDE};
use crate::reach::ranges::Ranges;
use crate::reach::remedy::Remedy;
use crate::reach::topology::{TargetGroup, Topology};
use crate::reach::verdict::{Code, HopLocation, Reach};
use crate::traffic::{PortRange, Protocol};

impl<'a> Tracer<'a> {
    pub(super) fn no_node(&mut self, walk: &Walk, key: &Key) {
        self.stop(walk, &walk.pieces, FROM_OUTSIDE.request(), |_| Stop {
            code: Code::NoPossibleDestination,
            at: HopLocation::Balancer(key.clone()),
            rule: None,
            reason: format!("{key} has no node in any subnet"),
            remedy: None,
        });
    }

    /// Passes connections at a balancer's node on to a listener, and from there to targets.
    pub(super) fn balance(&mut self, client: Walk, key: &'a Key, node: &'a str) -> Vec<Walk> {
        let Some(balancer) = self.index.topology.balancers.get(key) else {
            return Vec::new();
        };
        if client.pieces.is_empty() {
            return Vec::new();
        }
        let ends = FROM_OUTSIDE.request();
        let asked = packet_set::all_ports(&client.pieces, PortField::Service);
        let mut arrived = Vec::new();
        let mut rest = client.pieces.clone();
        for (listener, spec) in &balancer.listeners {
            let port = Ranges::span(spec.port.into(), spec.port.into());
            if self.protocol != Protocol::Tcp || asked.and(&port).is_empty() {
                continue;
            }
            let mut matched = Vec::new();
            for piece in std::mem::take(&mut rest) {
                let (inside, outside) =
                    piece.split(AddressField::Source, None, PortField::Service, Some(&port));
                matched.extend(inside);
                rest.extend(outside);
            }
            // The hops of the answer come last, after the hops behind the balancer.
            let answers = paths::requests(&client);
            let (requests, answers) = client.hops.split_at(answers);
            let mut walk = Walk {
                pieces: matched,
                hops: requests.to_vec(),
            };
            self.pass(&mut walk, HopLocation::Listener(listener.clone()), ends);
            let forwards = spec.rules.iter().map(|(rule, group)| (Some(rule), group));
            for (rule, group) in [(None, &spec.default)].into_iter().chain(forwards) {
                let mut walk = walk.clone();
                if let Some(rule) = rule {
                    self.pass(&mut walk, HopLocation::ListenerRule(rule.clone()), ends);
                }
                for mut walk in self.forward(walk, listener, node, group) {
                    walk.hops.extend_from_slice(answers);
                    arrived.push(walk);
                }
            }
        }
        let protocol = self.protocol;
        self.stop(&client, &rest, ends, |packet| {
            let ports: Vec<u16> = balancer.listeners.values().map(|it| it.port).collect();
            let (code, at, reason) = match balancer.listeners.iter().next() {
                Some((listener, spec)) if ports.len() == 1 && protocol == Protocol::Tcp => (
                    Code::Elbv2ListenerPortRestriction,
                    HopLocation::Listener(listener.clone()),
                    format!(
                        "{listener} is on port {}, and the connection is to port {}",
                        spec.port, packet.ports
                    ),
                ),
                _ => (
                    Code::Elbv2ListenersMismatch,
                    HopLocation::Balancer(key.clone()),
                    format!("{key} has no listener for {packet}"),
                ),
            };
            Stop {
                code,
                at,
                rule: None,
                reason,
                remedy: None,
            }
        });
        arrived
    }

    /// Forwards to every target of a group.
    fn forward(
        &mut self,
        mut walk: Walk,
        listener: &Key,
        node: &'a str,
        key: &'a Key,
    ) -> Vec<Walk> {
        let ends = FROM_OUTSIDE.request();
        let group = self.index.topology.target_groups.get(key);
        let Some(group) = group.filter(|group| !group.targets.is_empty()) else {
            self.stop(&walk, &walk.pieces, ends, |_| Stop {
                code: Code::Elbv2ListenerHasNoTg,
                at: HopLocation::Listener(listener.clone()),
                rule: None,
                reason: format!("{listener} sends requests to {key}, which has no target"),
                remedy: None,
            });
            return Vec::new();
        };
        self.pass(&mut walk, HopLocation::TargetGroup(key.clone()), ends);
        if !self.records {
            let reach = self.forwarded(node, key, group);
            self.stopped |= reach != Reach::All;
            return if reach == Reach::Nothing {
                Vec::new()
            } else {
                vec![walk]
            };
        }
        let mut arrived = Vec::new();
        for target in &group.targets {
            // Traffic that is blocked behind the balancer has passed the balancer first.
            let connection = Walk {
                hops: walk.hops.clone(),
                ..self.connect(node, target, group.port)
            };
            let connection = self.inside(connection, node, target, true);
            if !connection.pieces.is_empty() {
                arrived.push(Walk {
                    pieces: walk.pieces.clone(),
                    hops: connection.hops,
                });
            }
        }
        arrived
    }

    /// How much of a node's traffic to the targets of a group arrives.
    fn forwarded(&mut self, node: &'a str, key: &'a Key, group: &'a TargetGroup) -> Reach {
        if let Some(reach) = self.forwarded.get(&(node, key)) {
            return *reach;
        }
        let mut tracer = Tracer::new(self.index, self.protocol, false);
        let mut arrived = false;
        for target in &group.targets {
            let connection = tracer.connect(node, target, group.port);
            let connection = tracer.inside(connection, node, target, true);
            arrived |= !connection.pieces.is_empty();
        }
        let reach = Reach::of(arrived, tracer.stopped);
        self.forwarded.insert((node, key), reach);
        reach
    }

    /// A connection from a balancer's node to a port of a target, at its start.
    fn connect(&self, node: &str, target: &str, port: u16) -> Walk {
        let ask = Ask {
            service: Ranges::span(port.into(), port.into()),
            source_ports: None,
        };
        let piece = self.piece(
            self.private(node),
            self.private(target),
            &ask,
            PortRange::EPHEMERAL,
        );
        Walk::new(piece)
    }

    /// The balancer's own connections to its targets, on their registered ports.
    pub(super) fn ask_target(
        &mut self,
        balancer: &Key,
        node: &'a str,
        target: &'a str,
        ask: &Ask,
    ) -> Vec<Walk> {
        let walk = Walk::new(self.piece(
            self.private(node),
            self.private(target),
            ask,
            PortRange::EPHEMERAL,
        ));
        let groups = groups_of(self.index.topology, balancer);
        let mut known = Ranges::default();
        for (_, group) in groups
            .iter()
            .filter(|(_, group)| group.targets.contains(target))
        {
            for port in [group.port, group.health_port] {
                known = known.or(&Ranges::span(port.into(), port.into()));
            }
        }
        let ends = opener(true).request();
        if known.is_empty() {
            self.stop(&walk, &walk.pieces, ends, |packet| {
                let of_port = |group: &TargetGroup| {
                    packet.ports.contains(group.port) || packet.ports.contains(group.health_port)
                };
                let candidate = groups.iter().find(|(_, group)| of_port(group));
                Stop {
                    code: Code::TargetAddressRestriction,
                    at: HopLocation::Balancer(balancer.clone()),
                    rule: None,
                    reason: format!("{target} is not a target of {balancer}"),
                    remedy: candidate.map(|(key, _)| Remedy::AddTarget {
                        target_group: (*key).clone(),
                        interface: target.to_owned(),
                    }),
                }
            });
            return Vec::new();
        }
        let mut asked = Vec::new();
        let mut other = Vec::new();
        for piece in walk.pieces.clone() {
            let (inside, outside) =
                piece.split(AddressField::Source, None, PortField::Service, Some(&known));
            asked.extend(inside);
            other.extend(outside);
        }
        self.stop(&walk, &other, ends, |packet| {
            let ports: Vec<String> = known
                .port_ranges()
                .iter()
                .map(ToString::to_string)
                .collect();
            Stop {
                code: Code::TargetPortRestriction,
                at: HopLocation::Balancer(balancer.clone()),
                rule: None,
                reason: format!(
                    "{balancer} connects to {target} on port {}, not on {}",
                    ports.join(" and "),
                    packet.ports
                ),
                remedy: None,
            }
        });
        let walk = Walk {
            pieces: asked,
            ..walk
        };
        vec![self.inside(walk, node, target, true)]
    }
}

/// The target groups of a balancer's listeners.
fn groups_of<'a>(topology: &'a Topology, balancer: &Key) -> Vec<(&'a Key, &'a TargetGroup)> {
    let listeners = topology.balancers.get(balancer).into_iter();
    let mut keys: Vec<&Key> = listeners
        .flat_map(|balancer| balancer.listeners.values())
        .flat_map(|listener| listener.rules.values().chain([&listener.default]))
        .collect();
    keys.sort();
    keys.dedup();
    let groups = keys.into_iter();
    groups
        .filter_map(|key| topology.target_groups.get_key_value(key))
        .collect()
}
