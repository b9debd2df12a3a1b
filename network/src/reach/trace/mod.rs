//! Traces a flow through a topology, hop by hop, there and back.

mod balancer;
mod groups;
mod index;
mod packet_set;
mod paths;
mod remedies;
mod routes;
mod walk;

use landfall_provider::Key;

pub(super) use self::index::Index;
pub use self::index::is_public;
use self::packet_set::{AddressField, PacketSet, PortField};
use self::paths::{Outside, opener};
use self::walk::{Opener, Stop};
pub(super) use self::walk::{Tracer, Walk};
use super::flow::{End, Flow, FlowError};
use super::ranges::Ranges;
use super::topology::{Address, Role, Topology};
use super::verdict::{Code, HopLocation, Reach, Verdict, shown};
use crate::EndpointService;
use crate::traffic::{PortRange, Protocol};

/// The default source ports of Linux: `net.ipv4.ip_local_port_range`.
///
/// <https://docs.kernel.org/networking/ip-sysctl.html>
const LINUX_PORTS: PortRange = PortRange {
    from: 32768,
    to: 60999,
};

/// Traces a flow from end to end, and its answers back.
///
/// # Errors
/// [`FlowError`] when an end is not in the topology.
pub fn trace(topology: &Topology, flow: &Flow) -> Result<Verdict, FlowError> {
    trace_in(&Index::new(topology), flow)
}

/// The same, for repeated traces.
pub(super) fn trace_in(index: &Index<'_>, flow: &Flow) -> Result<Verdict, FlowError> {
    let (tracer, arrived) = walk(index, flow, true)?;
    let reach = Reach::of(!arrived.is_empty(), tracer.stopped);
    let pieces: Vec<PacketSet> = arrived
        .iter()
        .flat_map(|walk| walk.pieces.clone())
        .collect();
    let packet = tracer.packet(&pieces, FROM_OUTSIDE.request());
    let (hops, block) = match tracer.first {
        Some((hops, block)) => (hops, Some(block)),
        None => {
            let first = arrived.into_iter().next();
            (first.map(|walk| walk.hops).unwrap_or_default(), None)
        }
    };
    Ok(Verdict {
        flow: flow.clone(),
        reach,
        hops,
        block,
        arrived: (reach != Reach::Nothing).then_some(packet),
    })
}

/// How much of a flow arrives, without its path.
pub(super) fn reach_in(index: &Index<'_>, flow: &Flow) -> Result<Reach, FlowError> {
    let (tracer, arrived) = walk(index, flow, false)?;
    Ok(Reach::of(!arrived.is_empty(), tracer.stopped))
}

fn walk<'a>(
    index: &'a Index<'a>,
    flow: &Flow,
    records: bool,
) -> Result<(Tracer<'a>, Vec<Walk>), FlowError> {
    let mut tracer = Tracer::new(index, flow.protocol, records);
    let arrived = tracer.follow(flow)?;
    Ok((tracer, arrived))
}

impl<'a> Tracer<'a> {
    /// The part of a flow that arrives and is answered.
    pub(super) fn follow(&mut self, flow: &Flow) -> Result<Vec<Walk>, FlowError> {
        flow.check(self.index.topology)?;
        let origins = origins(self.index, &flow.from)?;
        let goals = goals(self.index, &flow.to)?;
        let ask = Ask {
            service: match flow.protocol {
                Protocol::Tcp | Protocol::Udp => Ranges::ports(flow.ports),
                Protocol::Icmp | Protocol::All => Ranges::span(0, 0),
            },
            source_ports: flow.source_ports,
        };
        let mut arrived: Vec<Walk> = Vec::new();
        for origin in &origins {
            for goal in &goals {
                arrived.extend(self.flow(origin, goal, &ask));
            }
        }
        arrived.retain(|walk| !walk.pieces.is_empty());
        Ok(arrived)
    }
}

/// The ports of a flow.
pub(super) struct Ask {
    /// The destination ports.
    pub(super) service: Ranges,
    /// The source ports, if given.
    pub(super) source_ports: Option<PortRange>,
}

/// The start of a flow.
pub(super) enum Origin<'a> {
    Outside(Ranges),
    Interface(&'a str),
    /// A node of a balancer, which connects to targets.
    Node(&'a Key, &'a str),
    NatGateway(&'a Key),
    Service(EndpointService),
}

/// The destination of a flow.
pub(super) enum Goal<'a> {
    Outside(Ranges),
    Interface(&'a str),
    /// An interface by its private address, which has no meaning outside.
    Private(&'a str),
    Node(&'a Key, &'a str),
    /// A balancer that has no node.
    NoNode(&'a Key),
    NatGateway(&'a Key),
    Service(EndpointService, Ranges),
    /// Unused addresses of the VPC.
    Nobody(Ranges),
}

fn origins<'a>(index: &Index<'a>, end: &End) -> Result<Vec<Origin<'a>>, FlowError> {
    let topology = index.topology;
    let unknown = || FlowError::Unknown {
        end: end.clone(),
        known: Vec::new(),
    };
    Ok(match end {
        End::Internet | End::InternetExcept(_) => {
            vec![Origin::Outside(everybody(index, end)?)]
        }
        End::Addresses(net) => {
            if let Some(name) = owner(index, *net) {
                return Ok(vec![Origin::Interface(name)]);
            }
            if topology.cidr.contains(net) {
                return Err(FlowError::NotOne(*net));
            }
            let outside = hosts(index, *net);
            if outside.is_empty() {
                return Err(FlowError::Nowhere(*net));
            }
            vec![Origin::Outside(outside)]
        }
        End::Interface(name) => {
            let (name, _) = topology
                .interfaces
                .get_key_value(name)
                .ok_or_else(unknown)?;
            vec![Origin::Interface(name)]
        }
        End::Balancer(key) => {
            let (key, balancer) = topology.balancers.get_key_value(key).ok_or_else(unknown)?;
            let nodes = balancer.nodes.iter();
            nodes.map(|node| Origin::Node(key, node)).collect()
        }
        End::NatGateway(key) => {
            let gateway = topology.nat_gateways.get_key_value(key);
            vec![Origin::NatGateway(gateway.ok_or_else(unknown)?.0)]
        }
        End::Service(service) => vec![Origin::Service(*service)],
    })
}

fn goals<'a>(index: &Index<'a>, end: &End) -> Result<Vec<Goal<'a>>, FlowError> {
    let topology = index.topology;
    let unknown = || FlowError::Unknown {
        end: end.clone(),
        known: Vec::new(),
    };
    Ok(match end {
        End::Internet | End::InternetExcept(_) => vec![Goal::Outside(everybody(index, end)?)],
        End::Addresses(net) => {
            // A public address of the VPC is reached over the internet.
            if topology.cidr.contains(net) {
                return Ok(vec![match owner(index, *net) {
                    Some(name) => Goal::Private(name),
                    None => Goal::Nobody(Ranges::net(*net)),
                }]);
            }
            // For `0.0.0.0/0`, the addresses that a host may have; for a private block elsewhere,
            // all.
            let outside = hosts(index, *net);
            let all = || Ranges::net(*net).without(&Ranges::net(topology.cidr));
            vec![Goal::Outside(if outside.is_empty() {
                all()
            } else {
                outside
            })]
        }
        End::Interface(name) => {
            let (name, _) = topology
                .interfaces
                .get_key_value(name)
                .ok_or_else(unknown)?;
            vec![Goal::Interface(name)]
        }
        End::Balancer(key) => {
            let (key, balancer) = topology.balancers.get_key_value(key).ok_or_else(unknown)?;
            if balancer.nodes.is_empty() {
                return Ok(vec![Goal::NoNode(key)]);
            }
            let nodes = balancer.nodes.iter();
            nodes.map(|node| Goal::Node(key, node)).collect()
        }
        End::NatGateway(key) => {
            let gateway = topology.nat_gateways.get_key_value(key);
            vec![Goal::NatGateway(gateway.ok_or_else(unknown)?.0)]
        }
        End::Service(service) => {
            let endpoints = topology.endpoints.values();
            let prefixes = endpoints
                .filter(|endpoint| endpoint.service == *service)
                .flat_map(|endpoint| &endpoint.prefixes);
            vec![Goal::Service(*service, Ranges::nets(prefixes))]
        }
    })
}

/// The addresses of the internet, without the exceptions.
fn everybody(index: &Index<'_>, end: &End) -> Result<Ranges, FlowError> {
    let addresses = match end {
        End::InternetExcept(nets) => index.internet_except(nets),
        _ => index.internet.clone(),
    };
    if addresses.is_empty() {
        return Err(FlowError::Nobody(end.clone()));
    }
    Ok(addresses)
}

/// The addresses of a block that hosts on the internet may have; if there are none, those of the
/// VPC's own resources and of services.
fn hosts(index: &Index<'_>, net: ipnet::Ipv4Net) -> Ranges {
    let net = Ranges::net(net);
    let hosts = net.and(&index.internet);
    if hosts.is_empty() {
        return net.and(&index.public);
    }
    hosts
}

/// The interface with this address, private or public.
fn owner<'a>(index: &Index<'a>, net: ipnet::Ipv4Net) -> Option<&'a str> {
    if net.prefix_len() != 32 {
        return None;
    }
    let address = Some(net.addr());
    let interfaces = index.topology.interfaces.iter();
    let mut of_address = interfaces.filter(|(_, interface)| {
        let public = interface.public.and_then(Address::known);
        interface.address.known() == address || public == address
    });
    of_address.next().map(|(name, _)| name.as_str())
}

impl<'a> Tracer<'a> {
    /// The part of a flow that arrives and is answered; the rest is recorded as blocked.
    pub(super) fn flow(&mut self, origin: &Origin<'a>, goal: &Goal<'a>, ask: &Ask) -> Vec<Walk> {
        match (origin, goal) {
            (Origin::Outside(source), goal) => self.trace_outside(source, goal, ask),
            (Origin::Interface(from), goal) => self.trace_interface(from, goal, ask),
            (Origin::Node(balancer, node), Goal::Interface(target) | Goal::Private(target)) => {
                self.ask_target(balancer, node, target, ask)
            }
            (Origin::Node(_, node), goal) => self.trace_interface(node, goal, ask),
            (Origin::NatGateway(key), Goal::Outside(to) | Goal::Service(_, to)) => {
                let Some(gateway) = self.index.topology.nat_gateways.get(*key) else {
                    return Vec::new();
                };
                let walk = Walk::new(self.piece(
                    self.index.outside(gateway.public),
                    to.clone(),
                    ask,
                    PortRange::EPHEMERAL,
                ));
                self.nat(walk, key, gateway, None, meant(goal))
            }
            (Origin::NatGateway(key), goal) => {
                self.nobody_there(&HopLocation::NatGateway((*key).clone()), goal, ask);
                Vec::new()
            }
            (Origin::Service(service), goal) => {
                self.nobody_there(&HopLocation::Service(*service), goal, ask);
                Vec::new()
            }
        }
    }

    fn piece(&self, from: Ranges, to: Ranges, ask: &Ask, ports: PortRange) -> PacketSet {
        let ports = match self.protocol {
            Protocol::Tcp | Protocol::Udp => Ranges::ports(ask.source_ports.unwrap_or(ports)),
            Protocol::Icmp | Protocol::All => Ranges::span(0, 0),
        };
        PacketSet::new(from, to, ask.service.clone(), ports)
    }

    /// The source ports of an interface.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports>
    fn opens_from(&self, interface: &str) -> PortRange {
        if self.is_node(interface) {
            PortRange::EPHEMERAL
        } else {
            LINUX_PORTS
        }
    }

    fn is_node(&self, interface: &str) -> bool {
        let interface = self.index.interface(interface);
        interface.is_some_and(|interface| matches!(interface.role, Role::Node(_)))
    }

    fn private(&self, interface: &str) -> Ranges {
        let interface = self.index.interface(interface);
        interface.map_or_else(Ranges::default, |it| self.index.private(it))
    }

    fn trace_outside(&mut self, source: &Ranges, goal: &Goal<'a>, ask: &Ask) -> Vec<Walk> {
        let start = |tracer: &Self, to: Ranges| {
            let piece = tracer.piece(source.clone(), to, ask, PortRange::EPHEMERAL);
            let mut walk = Walk::new(piece);
            tracer.pass(&mut walk, HopLocation::Internet, FROM_OUTSIDE.request());
            walk
        };
        let mut arrived = match goal {
            Goal::Interface(name) => {
                let walk = start(self, self.private(name));
                vec![self.enter(walk, name, FROM_OUTSIDE)]
            }
            Goal::Node(balancer, node) => {
                let walk = start(self, self.private(node));
                let walk = self.enter(walk, node, FROM_OUTSIDE);
                self.balance(walk, balancer, node)
            }
            Goal::Outside(to) => {
                let walk = start(self, to.clone());
                self.find_public(walk)
            }
            Goal::NoNode(key) => {
                let walk = start(self, self.index.internet.clone());
                self.no_node(&walk, key);
                Vec::new()
            }
            Goal::NatGateway(key) => {
                let walk = start(self, self.index.internet.clone());
                self.refused_by_nat(&walk, key, FROM_OUTSIDE.request());
                Vec::new()
            }
            Goal::Private(name) => {
                let walk = start(self, self.private(name));
                self.private_from_outside(&walk);
                Vec::new()
            }
            Goal::Nobody(to) => {
                let walk = start(self, to.clone());
                self.private_from_outside(&walk);
                Vec::new()
            }
            Goal::Service(service, to) => {
                let walk = start(self, to.clone());
                self.not_ours(&walk, HopLocation::Service(*service));
                Vec::new()
            }
        };
        for walk in &mut arrived {
            self.pass(walk, HopLocation::Internet, FROM_OUTSIDE.answer());
        }
        arrived
    }

    /// From outside to the public addresses of the VPC's resources.
    fn find_public(&mut self, walk: Walk) -> Vec<Walk> {
        let (own, rest) = self.by_owner(walk, FROM_OUTSIDE);
        self.private_from_outside(&rest);
        own
    }

    fn private_from_outside(&mut self, walk: &Walk) {
        let gateway = self.index.topology.internet_gateway.clone();
        self.stop(walk, &walk.pieces, FROM_OUTSIDE.request(), |packet| Stop {
            code: Code::IgwPrivateIpAssociationForIngress,
            at: HopLocation::InternetGateway(gateway),
            rule: None,
            reason: format!(
                "{} is no public address of anything in the VPC",
                shown(packet.destination)
            ),
            remedy: None,
        });
    }

    fn not_ours(&mut self, walk: &Walk, at: HopLocation) {
        self.stop(walk, &walk.pieces, FROM_OUTSIDE.request(), |_| Stop {
            code: Code::NoPossibleDestination,
            reason: format!("no packet from the internet to {at} passes this network"),
            at,
            rule: None,
            remedy: None,
        });
    }

    fn trace_interface(&mut self, from: &'a str, goal: &Goal<'a>, ask: &Ask) -> Vec<Walk> {
        let remaps = self.is_node(from);
        let ports = self.opens_from(from);
        let start = |tracer: &Self, to: Ranges| {
            Walk::new(tracer.piece(tracer.private(from), to, ask, ports))
        };
        match goal {
            Goal::Interface(to) | Goal::Private(to)
                if *to == from && self.index.interface(to).is_some() =>
            {
                // Its own connections do not leave the VPC.
                let mut walk = start(self, self.private(to));
                let ends = opener(remaps).request();
                self.pass(&mut walk, HopLocation::Interface(from.to_owned()), ends);
                vec![walk]
            }
            Goal::Interface(to) | Goal::Private(to) => {
                let walk = start(self, self.private(to));
                vec![self.inside(walk, from, to, remaps)]
            }
            Goal::Node(balancer, node) => {
                let public = self.index.interface(node).and_then(|it| it.public);
                let Some(public) = public else {
                    let walk = start(self, self.private(node));
                    let walk = self.inside(walk, from, node, remaps);
                    return self.balance(walk, balancer, node);
                };
                // The balancer's name resolves to its public addresses, also inside the VPC.
                let walk = start(self, self.index.outside(public));
                let walks = self.out(walk, from, Outside::Interface(node), remaps);
                let walks = walks.into_iter();
                walks
                    .flat_map(|walk| self.balance(walk, balancer, node))
                    .collect()
            }
            Goal::Outside(to) | Goal::Service(_, to) => {
                let walk = start(self, to.clone());
                self.out(walk, from, meant(goal), remaps)
            }
            Goal::NoNode(key) => {
                let walk = start(self, self.index.internet.clone());
                self.no_node(&walk, key);
                Vec::new()
            }
            Goal::NatGateway(_) | Goal::Nobody(_) => {
                self.nobody_there(&HopLocation::Interface(from.to_owned()), goal, ask);
                Vec::new()
            }
        }
    }

    /// The destination does not exist, or the source never opens connections.
    fn nobody_there(&mut self, from: &HopLocation, goal: &Goal<'a>, ask: &Ask) {
        let ends = FROM_OUTSIDE.request();
        let to = match goal {
            Goal::Outside(to) | Goal::Service(_, to) | Goal::Nobody(to) => to.clone(),
            Goal::Interface(name) | Goal::Private(name) | Goal::Node(_, name) => self.private(name),
            Goal::NoNode(_) | Goal::NatGateway(_) => self.index.internet.clone(),
        };
        let source = match from {
            HopLocation::Interface(name) => self.private(name),
            _ => self.index.internet.clone(),
        };
        let walk = Walk::new(self.piece(source, to, ask, PortRange::EPHEMERAL));
        self.stop(&walk, &walk.pieces, ends, |packet| {
            let (at, reason) = match goal {
                Goal::NatGateway(key) => (
                    HopLocation::NatGateway((*key).clone()),
                    format!("{key} passes connections on, and answers none itself"),
                ),
                Goal::Nobody(_) => (
                    HopLocation::Nobody(packet.destination),
                    format!("nothing has {}", shown(packet.destination)),
                ),
                _ => (
                    from.clone(),
                    format!("{from} does not open this connection"),
                ),
            };
            Stop {
                code: Code::NoPossibleDestination,
                at,
                rule: None,
                reason,
                remedy: None,
            }
        });
    }
}

fn meant<'a>(goal: &Goal<'a>) -> Outside<'a> {
    match goal {
        Goal::Service(service, _) => Outside::Service(*service),
        _ => Outside::Anybody,
    }
}

/// A host on the internet, from the VPC's point of view.
const FROM_OUTSIDE: Opener<'static> = Opener {
    hidden: None,
    who: AddressField::Source,
    ports: PortField::Source,
    remaps: false,
};
