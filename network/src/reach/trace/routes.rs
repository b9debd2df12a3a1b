//! Route tables: the next hop of packets to destinations outside the VPC.

use landfall_provider::Key;

use super::index::{Index, Routed, Way};
use super::remedies;
use super::walk::{Ends, Stop, Tracer, Walk};
use crate::reach::ranges::Ranges;
use crate::reach::remedy::Remedy;
use crate::reach::verdict::{Code, HopLocation, Packet, Rule, shown};

impl<'a> Tracer<'a> {
    /// Routes packets by a subnet's route table to addresses outside the VPC.
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
        let place = || HopLocation::RouteTable {
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

    /// Records the hop at a subnet's route table.
    pub(super) fn routed(&self, walk: &mut Walk, subnet: &Key, rule: Rule, ends: Ends) {
        if self.records {
            let at = HopLocation::RouteTable {
                subnet: subnet.clone(),
                table: self.index.table(subnet).map(|(table, _)| table.clone()),
            };
            self.hop(walk, at, vec![rule], ends);
        }
    }
}

fn dead_route(
    index: &Index<'_>,
    at: HopLocation,
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
                "the route for {} in {at} leads to {gone}, which does not exist, and takes precedence over the route for {}",
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
