//! The paths of connections: within the VPC, out of it, into it, and through a balancer.

use landfall_provider::Key;

use super::index::{Index, Owner, Way};
use super::packet_set::{AddressField, PortField};
use super::remedies;
use super::walk::{Ends, Opener, Stop, Tracer, Walk};
use crate::EndpointService;
use crate::reach::ranges::Ranges;
use crate::reach::remedy::Remedy;
use crate::reach::topology::NatGateway;
use crate::reach::verdict::{Code, FlowDirection, HopLocation, Rule, shown};
use crate::traffic::{Direction, PortRange, Protocol};

/// The intended destination outside.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outside<'a> {
    /// Any host with the address.
    Anybody,
    /// The interface that has the address, or will have it.
    Interface(&'a str),
    /// A service.
    Service(EndpointService),
}

/// An interface as the opener of a connection.
pub(super) fn opener(remaps: bool) -> Opener<'static> {
    Opener {
        hidden: None,
        who: AddressField::Source,
        ports: PortField::Source,
        remaps,
    }
}

impl<'a> Tracer<'a> {
    /// From interface to interface, by private addresses.
    ///
    /// Within a subnet no network ACL applies, and the VPC's own route is in every table.
    pub(super) fn inside(&mut self, walk: Walk, from: &'a str, to: &'a str, remaps: bool) -> Walk {
        let Some(source) = self.index.interface(from) else {
            return self.missing(&walk, from);
        };
        let Some(target) = self.index.interface(to) else {
            return self.missing(&walk, to);
        };
        if !self.records && !self.may_connect(from, to) {
            self.stopped = true;
            return Walk::default();
        }
        let opener = opener(remaps);
        let crosses = source.subnet != target.subnet;
        let (request, answer) = (opener.request(), opener.answer());
        let mut walk = walk;
        self.pass(&mut walk, HopLocation::Interface(from.to_owned()), request);
        let mut walk = self.groups(walk, from, Direction::Egress, Some(to), opener);
        if !self.records {
            // If the path is not recorded, check the most restrictive layer first.
            walk = self.groups(walk, to, Direction::Ingress, Some(from), opener);
        }
        if crosses && !walk.pieces.is_empty() {
            walk = self.border(walk, &source.subnet, &target.subnet, request, remaps);
        }
        if self.records {
            walk = self.groups(walk, to, Direction::Ingress, Some(from), opener);
        }
        self.pass(&mut walk, HopLocation::Interface(to.to_owned()), request);
        if crosses && !walk.pieces.is_empty() {
            walk = self.border(walk, &target.subnet, &source.subnet, answer, remaps);
        }
        self.pass(&mut walk, HopLocation::Interface(from.to_owned()), answer);
        walk
    }

    /// Blocks at an interface that is referenced, but does not exist or has no subnet.
    fn missing(&mut self, walk: &Walk, name: &str) -> Walk {
        let ends = opener(false).request();
        self.stop(walk, &walk.pieces, ends, |_| Stop {
            code: Code::NoPossibleDestination,
            at: HopLocation::Interface(name.to_owned()),
            rule: None,
            reason: format!("{name} is in no subnet of this VPC"),
            remedy: None,
        });
        Walk::default()
    }

    /// Out of one subnet and into another of the VPC.
    fn border(&mut self, walk: Walk, from: &'a Key, to: &'a Key, ends: Ends, remaps: bool) -> Walk {
        let mut walk = self.acl(walk, from, Direction::Egress, ends, remaps);
        let local = Rule::Route(self.index.topology.cidr);
        self.routed(&mut walk, from, local, ends);
        self.acl(walk, to, Direction::Ingress, ends, remaps)
    }

    /// From an interface to addresses outside the VPC, or to public ones of the VPC's own
    /// resources.
    pub(super) fn out(
        &mut self,
        walk: Walk,
        from: &'a str,
        outside: Outside<'a>,
        remaps: bool,
    ) -> Vec<Walk> {
        let Some(interface) = self.index.interface(from) else {
            self.missing(&walk, from);
            return Vec::new();
        };
        let subnet = &interface.subnet;
        let opener = opener(remaps);
        let (request, answer) = (opener.request(), opener.answer());
        let mut walk = walk;
        self.pass(&mut walk, HopLocation::Interface(from.to_owned()), request);
        let walk = self.groups(walk, from, Direction::Egress, None, opener);
        let public = interface.public.is_some();
        let ways = self.routes(walk, subnet, request, subnet, public);
        let mut arrived = Vec::new();
        for (way, rule, walk) in ways {
            match way {
                Way::InternetGateway(gateway) => {
                    let mut walk = self.acl(walk, subnet, Direction::Egress, request, remaps);
                    self.routed(&mut walk, subnet, rule, request);
                    let Some(public) = interface.public else {
                        self.no_public_address(&walk, gateway, from, request);
                        continue;
                    };
                    let addresses = self.index.outside(public);
                    let seen = Opener {
                        who: AddressField::Translated,
                        ..opener
                    };
                    self.translate(&mut walk, &addresses, None);
                    self.pass(&mut walk, internet_gateway(gateway), seen.request());
                    for mut walk in self.beyond(walk, seen, outside) {
                        self.pass(&mut walk, internet_gateway(gateway), answer);
                        let mut walk = self.acl(walk, subnet, Direction::Ingress, answer, remaps);
                        self.pass(&mut walk, HopLocation::Interface(from.to_owned()), answer);
                        arrived.push(walk);
                    }
                }
                Way::NatGateway(key) => {
                    let Some(gateway) = self.index.topology.nat_gateways.get(key) else {
                        continue;
                    };
                    let crosses = gateway.subnet != *subnet;
                    let mut walk = walk;
                    if crosses {
                        walk = self.acl(walk, subnet, Direction::Egress, request, remaps);
                    }
                    self.routed(&mut walk, subnet, rule, request);
                    if crosses {
                        walk = self.acl(walk, &gateway.subnet, Direction::Ingress, request, remaps);
                    }
                    for mut walk in self.nat(walk, key, gateway, Some(from), outside) {
                        if crosses {
                            walk = self.border(walk, &gateway.subnet, subnet, answer, remaps);
                        }
                        self.pass(&mut walk, HopLocation::Interface(from.to_owned()), answer);
                        arrived.push(walk);
                    }
                }
                Way::Endpoint(endpoint) => {
                    let mut walk = self.acl(walk, subnet, Direction::Egress, request, remaps);
                    self.routed(&mut walk, subnet, rule, request);
                    let Some(mut walk) = self.endpoint(walk, endpoint, request) else {
                        continue;
                    };
                    self.pass(&mut walk, HopLocation::Endpoint(endpoint.clone()), answer);
                    let mut walk = self.acl(walk, subnet, Direction::Ingress, answer, remaps);
                    self.pass(&mut walk, HopLocation::Interface(from.to_owned()), answer);
                    arrived.push(walk);
                }
            }
        }
        arrived
    }

    fn no_public_address(&mut self, walk: &Walk, gateway: &Key, name: &str, ends: Ends) {
        self.stop(walk, &walk.pieces, ends, |_| Stop {
            code: Code::IgwPublicIpAssociationForEgress,
            at: internet_gateway(gateway),
            rule: None,
            reason: format!("{name} has no public address, and {gateway} lets nothing else out"),
            remedy: Some(Remedy::AddPublicAddress {
                interface: name.to_owned(),
            }),
        });
    }

    /// Through a gateway endpoint to its service.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html>
    fn endpoint(&mut self, mut walk: Walk, key: &'a Key, ends: Ends) -> Option<Walk> {
        let endpoint = self.index.topology.endpoints.get(key)?;
        if self.protocol == Protocol::Udp {
            self.stop(&walk, &walk.pieces, ends, |packet| Stop {
                code: Code::VpceGatewayProtocolRestriction,
                at: HopLocation::Endpoint(key.clone()),
                rule: None,
                reason: format!("{key} carries TCP and ICMP, and not {packet}"),
                remedy: None,
            });
            return None;
        }
        self.pass(&mut walk, HopLocation::Endpoint(key.clone()), ends);
        self.pass(&mut walk, HopLocation::Service(endpoint.service), ends);
        Some(walk)
    }

    /// Through a NAT gateway, from inside it to the internet and back.
    ///
    /// The gateway opens a new connection with its own address and its own ports.
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html>
    pub(super) fn nat(
        &mut self,
        mut walk: Walk,
        key: &'a Key,
        gateway: &'a NatGateway,
        behind: Option<&'a str>,
        outside: Outside<'a>,
    ) -> Vec<Walk> {
        let opener = Opener {
            hidden: behind,
            who: AddressField::Translated,
            ports: PortField::Translated,
            remaps: true,
        };
        let (request, answer) = (opener.request(), opener.answer());
        let ports = match self.protocol {
            Protocol::Tcp | Protocol::Udp => Ranges::ports(PortRange::EPHEMERAL),
            Protocol::Icmp | Protocol::All => Ranges::span(0, 0),
        };
        let addresses = self.index.outside(gateway.public);
        self.translate(&mut walk, &addresses, Some(&ports));
        self.pass(&mut walk, HopLocation::NatGateway(key.clone()), request);
        let subnet = &gateway.subnet;
        let mut arrived = Vec::new();
        for (way, rule, walk) in self.routes(walk, subnet, request, subnet, true) {
            match way {
                Way::InternetGateway(internet) => {
                    let mut walk = self.acl(walk, subnet, Direction::Egress, request, true);
                    self.routed(&mut walk, subnet, rule, request);
                    self.pass(&mut walk, internet_gateway(internet), request);
                    for mut walk in self.beyond(walk, opener, outside) {
                        self.pass(&mut walk, internet_gateway(internet), answer);
                        let mut walk = self.acl(walk, subnet, Direction::Ingress, answer, true);
                        self.pass(&mut walk, HopLocation::NatGateway(key.clone()), answer);
                        arrived.push(walk);
                    }
                }
                // The gateway's subnet has its own routes, including those to endpoints.
                Way::Endpoint(endpoint) => {
                    let mut walk = self.acl(walk, subnet, Direction::Egress, request, true);
                    self.routed(&mut walk, subnet, rule, request);
                    let Some(mut walk) = self.endpoint(walk, endpoint, request) else {
                        continue;
                    };
                    self.pass(&mut walk, HopLocation::Endpoint(endpoint.clone()), answer);
                    let mut walk = self.acl(walk, subnet, Direction::Ingress, answer, true);
                    self.pass(&mut walk, HopLocation::NatGateway(key.clone()), answer);
                    arrived.push(walk);
                }
                Way::NatGateway(_) => {
                    let index = self.index;
                    self.stop(&walk, &walk.pieces, request, |packet| {
                        let destination = shown(packet.destination);
                        Stop {
                            code: Code::NoRouteToDestination,
                            at: route_table(index, subnet),
                            rule: Some(rule.clone()),
                            reason: format!(
                                "{key} is in {subnet}, whose route to {destination} does not use an internet gateway"
                            ),
                            remedy: remedies::reroute(index, subnet, packet),
                        }
                    });
                }
            }
        }
        arrived
    }

    fn translate(&self, walk: &mut Walk, addresses: &Ranges, ports: Option<&Ranges>) {
        for piece in &mut walk.pieces {
            let mut translated = piece
                .clone()
                .at(AddressField::Translated, addresses.clone());
            if let Some(ports) = ports {
                translated = translated.on_ports(PortField::Translated, ports.clone());
            }
            *piece = translated;
        }
    }

    /// On the internet: to hosts there, and back in to public addresses of the VPC.
    fn beyond(&mut self, walk: Walk, opener: Opener<'a>, outside: Outside<'a>) -> Vec<Walk> {
        let request = opener.request();
        if let Outside::Interface(name) = outside {
            return vec![self.enter(walk, name, opener)];
        }
        let (mut arrived, mut rest) = self.by_owner(walk, opener);
        let mut foreign = Vec::new();
        let mut hosts = Vec::new();
        for piece in std::mem::take(&mut rest.pieces) {
            let (inside, outside) = piece.split(
                AddressField::Destination,
                Some(&self.index.public),
                request.port,
                None,
            );
            hosts.extend(inside);
            foreign.extend(outside);
        }
        self.stop(&rest, &foreign, request, |packet| Stop {
            code: Code::NoPossibleDestination,
            at: HopLocation::Nobody(packet.destination),
            rule: None,
            reason: format!("nothing on the internet has {}", shown(packet.destination)),
            remedy: None,
        });
        if !hosts.is_empty() {
            rest.pieces = hosts;
            let at = match outside {
                Outside::Service(service) => HopLocation::Service(service),
                Outside::Anybody | Outside::Interface(_) => HopLocation::Internet,
            };
            self.pass(&mut rest, at, request);
            arrived.push(rest);
        }
        arrived
    }

    /// Back in to resources with a public address, and the remaining packets.
    pub(super) fn by_owner(&mut self, walk: Walk, opener: Opener<'a>) -> (Vec<Walk>, Walk) {
        let request = opener.request();
        let mut arrived = Vec::new();
        let mut rest = walk;
        for (address, owner) in &self.index.public_addresses {
            let one = Ranges::address(*address);
            let mut own = Vec::new();
            for piece in std::mem::take(&mut rest.pieces) {
                let (inside, outside) =
                    piece.split(AddressField::Destination, Some(&one), request.port, None);
                own.extend(inside);
                rest.pieces.extend(outside);
            }
            if own.is_empty() {
                continue;
            }
            let own = Walk {
                pieces: own,
                hops: rest.hops.clone(),
            };
            match *owner {
                Owner::Interface(name) => arrived.push(self.enter(own, name, opener)),
                Owner::NatGateway(key) => self.refused_by_nat(&own, key, request),
            }
        }
        (arrived, rest)
    }

    /// Blocks connections from outside to a NAT gateway.
    pub(super) fn refused_by_nat(&mut self, walk: &Walk, key: &Key, ends: Ends) {
        self.stop(walk, &walk.pieces, ends, |_| Stop {
            code: Code::NgwRequiresSourceInVpc,
            at: HopLocation::NatGateway(key.clone()),
            rule: None,
            reason: format!("{key} carries connections that begin in the VPC, and no others"),
            remedy: None,
        });
    }

    /// Through the internet gateway to an interface, by its public address.
    pub(super) fn enter(&mut self, mut walk: Walk, to: &'a str, opener: Opener<'a>) -> Walk {
        let Some(interface) = self.index.interface(to) else {
            return self.missing(&walk, to);
        };
        let (request, answer) = (opener.request(), opener.answer());
        let Some(gateway) = &self.index.topology.internet_gateway else {
            self.no_internet_gateway(&walk, request);
            return Walk::default();
        };
        if interface.public.is_none() {
            self.stop(&walk, &walk.pieces, request, |_| Stop {
                code: Code::IgwPrivateIpAssociationForIngress,
                at: internet_gateway(gateway),
                rule: None,
                reason: format!(
                    "{to} has no public address, so it cannot be reached through {gateway}"
                ),
                remedy: Some(Remedy::AddPublicAddress {
                    interface: to.to_owned(),
                }),
            });
            return Walk::default();
        }
        let subnet = &interface.subnet;
        self.pass(&mut walk, internet_gateway(gateway), request);
        let walk = self.acl(walk, subnet, Direction::Ingress, request, opener.remaps);
        let mut walk = self.groups(walk, to, Direction::Ingress, None, opener);
        self.pass(&mut walk, HopLocation::Interface(to.to_owned()), request);
        let mut answered = Walk {
            pieces: Vec::new(),
            hops: walk.hops.clone(),
        };
        for (way, rule, walk) in self.routes(walk, subnet, answer, subnet, true) {
            let mut walk = walk;
            if !matches!(way, Way::InternetGateway(_)) {
                let index = self.index;
                self.stop(&walk, &walk.pieces, answer, |packet| {
                    let destination = shown(packet.destination);
                    Stop {
                        code: Code::NoRouteToDestination,
                        at: route_table(index, subnet),
                        rule: Some(rule.clone()),
                        reason: format!(
                            "the responses of {to} to {destination} use another gateway than the requests"
                        ),
                        remedy: remedies::reroute(index, subnet, packet),
                    }
                });
                continue;
            }
            walk = self.acl(walk, subnet, Direction::Egress, answer, opener.remaps);
            self.routed(&mut walk, subnet, rule, answer);
            self.pass(&mut walk, internet_gateway(gateway), answer);
            if !walk.pieces.is_empty() {
                answered.pieces.append(&mut walk.pieces);
                answered.hops = walk.hops;
            }
        }
        answered
    }

    pub(super) fn no_internet_gateway(&mut self, walk: &Walk, ends: Ends) {
        let remedy = remedies::internet_gateway(self.index);
        self.stop(walk, &walk.pieces, ends, |_| Stop {
            code: Code::IgwPrivateIpAssociationForIngress,
            at: HopLocation::InternetGateway(None),
            rule: None,
            reason: "the VPC has no internet gateway, and so nothing in it a public address"
                .to_owned(),
            remedy,
        });
    }
}

fn internet_gateway(key: &Key) -> HopLocation {
    HopLocation::InternetGateway(Some(key.clone()))
}

fn route_table(index: &Index<'_>, subnet: &Key) -> HopLocation {
    HopLocation::RouteTable {
        subnet: subnet.clone(),
        table: index.table(subnet).map(|(table, _)| table.clone()),
    }
}

/// The number of hops up to the first answer: the answers of a balancer's client keep them.
pub(super) fn requests(walk: &Walk) -> usize {
    let is_answer = |hop: &crate::reach::verdict::Hop| hop.leg == FlowDirection::Return;
    walk.hops
        .iter()
        .position(is_answer)
        .unwrap_or(walk.hops.len())
}
