//! Checks of custom rules.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_network::{Direction, NatMode, Peer, PortRange, Protocol};
use landfall_provider::ResourceName;

use super::fault::Diagnostic;
use super::hints;
use super::reading::join;
use super::rule_values::{
    Acl, Acls, CustomAclEntry, CustomSecurityRule, Expectation, Route, RouteTable, RouteTables,
    RouteVia, SecurityGroup,
};
use super::rules::{GROUPS, Rules, host_bits};
use super::{Config, Mode, Network};

/// The maximum length of a rule's description on AWS.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html>
const LONGEST_DESCRIPTION: usize = 255;

impl Config {
    /// Checks that need the whole configuration.
    pub(crate) fn custom_rules(&self, problems: &mut Vec<Diagnostic>) {
        let groups = self.group_names();
        let missing = |name: &ResourceName, at: String| {
            (!groups.iter().any(|group| group == name.as_str())).then(|| {
                Diagnostic::new(at, format_args!("there is no security group `{name}`"))
                    .hint(hints::for_name(name.as_str(), &groups))
            })
        };
        for (name, group) in &self.network.security_group {
            let at = format!("network.security-group.{name}");
            problems.extend(missing(name, at.clone()));
            for (index, rule) in group.rule.iter().enumerate() {
                for (key, peer) in [("from", &rule.from), ("to", &rule.to)] {
                    if let Some(Peer::Group(peer)) = peer {
                        problems.extend(missing(peer, format!("{at}.rule[{index}].{key}")));
                    }
                }
            }
        }
    }

    /// The names of the stack's security groups.
    pub(crate) fn group_names(&self) -> Vec<String> {
        let fixed = GROUPS
            .iter()
            .filter(|name| match **name {
                "bastion" => self.network.bastion.is_some(),
                _ => self.mode == Mode::Balanced,
            })
            .map(|name| (*name).to_owned());
        fixed
            .chain(self.service.keys().map(ToString::to_string))
            .collect()
    }
}

impl Network {
    /// Checks of routes against the network.
    pub(crate) fn own_routes(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        for (tier, table) in [
            ("public", &self.route_table.public),
            ("private", &self.route_table.private),
        ] {
            for (index, route) in table.route.iter().enumerate() {
                let at = format!("{}.{tier}.route[{index}]", join(at, "route-table"));
                let destination = route.destination;
                if self.cidr.contains(&destination) {
                    problems.push(
                        Diagnostic::new(
                            join(&at, "destination"),
                            format_args!("`{destination}` is inside the addresses of the VPC, {}", self.cidr),
                        )
                        .hint("packets inside the VPC need no route: every table has a route to its addresses"),
                    );
                }
                if route.via == RouteVia::NatGateway && tier == "public" {
                    problems.push(
                        Diagnostic::new(
                            join(&at, "via"),
                            "public subnets contain the NAT gateways, and cannot route to them",
                        )
                        .hint("write via = \"internet-gateway\""),
                    );
                } else if route.via == RouteVia::NatGateway && self.nat == NatMode::None {
                    problems.push(
                        Diagnostic::new(
                            join(&at, "via"),
                            "there is no NAT gateway: `nat` is \"none\"",
                        )
                        .hint("set nat = \"per-zone\" or \"single\" in [network]"),
                    );
                }
            }
        }
    }
}

/// The direction, by the given key of `from` and `to`. A diagnostic unless exactly one is given.
fn direction(from: bool, to: bool, at: &str) -> Result<Direction, Diagnostic> {
    match (from, to) {
        (true, false) => Ok(Direction::Ingress),
        (false, true) => Ok(Direction::Egress),
        (true, true) => Err(Diagnostic::new(
            join(at, "to"),
            "it has both `from` and `to`; only one direction is possible",
        )
        .hint(
            "write two: one with `from` for incoming packets, one with `to` for outgoing packets",
        )),
        (false, false) => Err(Diagnostic::new(at, "`from` or `to` is missing")
            .and(join(at, "from"))
            .and(join(at, "to"))
            .hint("from = \"…\" lets in, to = \"…\" lets out")),
    }
}

/// Requires ports for protocols with ports, and only for these.
fn ports(protocol: Protocol, ports: Option<PortRange>, at: &str) -> Option<Diagnostic> {
    match (protocol, ports) {
        (Protocol::Tcp | Protocol::Udp, None) => Some(
            Diagnostic::new(at, "`ports` is missing")
                .and(join(at, "ports"))
                .hint("ports = 8000, ports = \"8000-8100\", or all of them: \"0-65535\""),
        ),
        (Protocol::Icmp | Protocol::All, Some(_)) => Some(
            Diagnostic::new(join(at, "ports"), "only TCP and UDP have ports")
                .hint("leave `ports` out"),
        ),
        _ => None,
    }
}

impl Rules for SecurityGroup {
    fn rules(&self, _: &str, _: &mut Vec<Diagnostic>) {}
}

impl Rules for CustomSecurityRule {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        problems.extend(direction(self.from.is_some(), self.to.is_some(), at).err());
        problems.extend(ports(self.protocol, self.ports, at));
        for (key, peer) in [("from", &self.from), ("to", &self.to)] {
            if let Some(Peer::Cidr(cidr)) = peer {
                problems.extend(host_bits(*cidr, join(at, key)));
            }
        }
        let good = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
        if self.description.is_empty()
            || self.description.len() > LONGEST_DESCRIPTION
            || !self.description.chars().all(good)
        {
            problems.push(
                Diagnostic::new(
                    join(at, "description"),
                    "a description has 1 to 255 ASCII letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*",
                )
                .hint("AWS accepts no others"),
            );
        }
    }
}

impl Rules for Acls {
    fn rules(&self, _: &str, _: &mut Vec<Diagnostic>) {}
}

impl Rules for Acl {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        let mut seen = BTreeSet::new();
        for (index, entry) in self.entry.iter().enumerate() {
            let Some(direction) = entry.direction() else {
                continue;
            };
            if !seen.insert((direction, entry.number)) {
                problems.push(
                    Diagnostic::new(
                        format!("{at}.entry[{index}].number"),
                        format_args!(
                            "{direction} has two entries with the number {}",
                            entry.number
                        ),
                    )
                    .hint("change one of the numbers: the lowest number that matches decides"),
                );
            }
        }
    }
}

impl CustomAclEntry {
    /// The direction of its packets; `None` if the keys do not define it.
    pub(crate) fn direction(&self) -> Option<Direction> {
        direction(self.from.is_some(), self.to.is_some(), "").ok()
    }
}

impl Rules for CustomAclEntry {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        problems.extend(direction(self.from.is_some(), self.to.is_some(), at).err());
        problems.extend(ports(self.protocol, self.ports, at));
        for (key, cidr) in [("from", self.from), ("to", self.to)] {
            problems.extend(cidr.and_then(|cidr: Ipv4Net| host_bits(cidr, join(at, key))));
        }
    }
}

impl Rules for RouteTables {
    fn rules(&self, _: &str, _: &mut Vec<Diagnostic>) {}
}

impl Rules for RouteTable {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        let mut seen = BTreeSet::new();
        for (index, route) in self.route.iter().enumerate() {
            if !seen.insert(route.destination) {
                problems.push(
                    Diagnostic::new(
                        format!("{at}.route[{index}].destination"),
                        format_args!("there are two routes to `{}`", route.destination),
                    )
                    .hint("keep one of them"),
                );
            }
        }
    }
}

impl Rules for Route {
    fn rules(&self, at: &str, problems: &mut Vec<Diagnostic>) {
        problems.extend(host_bits(self.destination, join(at, "destination")));
    }
}

impl Rules for Expectation {
    fn rules(&self, _: &str, _: &mut Vec<Diagnostic>) {}
}
