//! An index of a topology: lookups that a trace needs repeatedly.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::Key;

use crate::network_acl::AclEntry;
use crate::reach::ranges::Ranges;
use crate::reach::topology::{Address, Interface, Subnet, Target, Topology};
use crate::security_group_rules::{Peer, SecurityRule};
use crate::traffic::{Direction, PortRange};

/// Addresses that no host on the internet has: private, shared, loopback, link-local, multicast and
/// reserved.
///
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>. The blocks for documentation are
/// not listed: examples, tests and the local cloud use them as the internet.
const NOT_PUBLIC: &[Ipv4Net] = &[
    Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Whether a host on the internet may have one of these addresses. The blocks for documentation
/// count as public.
pub fn is_public(net: Ipv4Net) -> bool {
    !Ranges::net(net)
        .without(&Ranges::nets(NOT_PUBLIC))
        .is_empty()
}

/// The number of addresses that AWS reserves at the beginning of every subnet; the last one is
/// reserved too.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
const RESERVED: u32 = 4;

/// A topology with derived data.
pub(in crate::reach) struct Index<'a> {
    pub(in crate::reach) topology: &'a Topology,
    /// Addresses that hosts outside may have.
    pub(super) public: Ranges,
    /// These addresses without those of the VPC's resources and of services with an endpoint.
    pub(in crate::reach) internet: Ranges,
    /// The entries of each ACL in the order of evaluation.
    acls: BTreeMap<(&'a Key, Direction), Vec<Entry<'a>>>,
    /// The routes of each table, the most specific first.
    tables: BTreeMap<&'a Key, Vec<Routed<'a>>>,
    /// The rules of all groups of each interface.
    rules: BTreeMap<&'a str, [Vec<Allowed<'a>>; 2]>,
    /// The owners of the known public addresses.
    pub(super) public_addresses: BTreeMap<Ipv4Addr, Owner<'a>>,
}

/// An entry of an ACL.
pub(super) struct Entry<'a> {
    pub(super) entry: &'a AclEntry,
    pub(super) addresses: Ranges,
    /// `None` for all.
    pub(super) ports: Option<Ranges>,
}

/// A rule of a security group.
pub(super) struct Allowed<'a> {
    pub(super) group: &'a Key,
    /// Its index among the group's rules.
    pub(super) index: usize,
    pub(super) rule: &'a SecurityRule<Key>,
    /// The other end.
    pub(super) peer: AllowedPeer<'a>,
    /// `None` for all.
    pub(super) ports: Option<Ranges>,
}

/// The other end of a rule.
pub(super) enum AllowedPeer<'a> {
    Anybody,
    Addresses(Ranges),
    Members(&'a Key),
}

/// A route.
pub(super) struct Routed<'a> {
    pub(super) destination: Ipv4Net,
    pub(super) addresses: Ranges,
    pub(super) way: Way<'a>,
    /// Whether its target exists.
    pub(super) alive: bool,
}

/// The target of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way<'a> {
    InternetGateway(&'a Key),
    NatGateway(&'a Key),
    Endpoint(&'a Key),
}

/// The owner of a public address.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    Interface(&'a str),
    NatGateway(&'a Key),
}

impl<'a> Index<'a> {
    pub(in crate::reach) fn new(topology: &'a Topology) -> Self {
        let everything = Ranges::span(0, u32::MAX);
        let public = everything
            .without(&Ranges::nets(NOT_PUBLIC))
            .without(&Ranges::net(topology.cidr));
        let mut public_addresses = BTreeMap::new();
        for (name, interface) in &topology.interfaces {
            if let Some(address) = interface.public.and_then(Address::known) {
                public_addresses.insert(address, Owner::Interface(name.as_str()));
            }
        }
        for (key, gateway) in &topology.nat_gateways {
            if let Some(address) = gateway.public.known() {
                public_addresses.insert(address, Owner::NatGateway(key));
            }
        }
        let prefixes = topology.endpoints.values().flat_map(|it| &it.prefixes);
        let mut internet = public.without(&Ranges::nets(prefixes));
        for address in public_addresses.keys() {
            internet = internet.without(&Ranges::address(*address));
        }
        let mut index = Self {
            topology,
            public,
            internet,
            acls: BTreeMap::new(),
            tables: BTreeMap::new(),
            rules: BTreeMap::new(),
            public_addresses,
        };
        for (name, interface) in &topology.interfaces {
            let rules = [Direction::Ingress, Direction::Egress]
                .map(|direction| allowed(topology, interface, direction));
            index.rules.insert(name, rules);
        }
        for (key, acl) in &topology.network_acls {
            for direction in [Direction::Ingress, Direction::Egress] {
                let of_direction = acl.entries.iter().filter(|it| it.direction == direction);
                let mut entries: Vec<Entry<'a>> = of_direction.map(Entry::new).collect();
                entries.sort_by_key(|it| it.entry.number);
                index.acls.insert((key, direction), entries);
            }
        }
        for (key, table) in &topology.route_tables {
            let routes = table.routes.iter().map(|(destination, target)| {
                let (way, alive) = match target {
                    Target::InternetGateway(gateway) => (
                        Way::InternetGateway(gateway),
                        topology.internet_gateway.as_ref() == Some(gateway),
                    ),
                    Target::NatGateway(gateway) => (
                        Way::NatGateway(gateway),
                        topology.nat_gateways.contains_key(gateway),
                    ),
                };
                Routed::new(*destination, way, alive)
            });
            let mut routes: Vec<Routed<'a>> = routes.collect();
            for (endpoint, spec) in &topology.endpoints {
                if spec.route_tables.contains(key) {
                    let prefixes = spec.prefixes.iter();
                    routes
                        .extend(prefixes.map(|it| Routed::new(*it, Way::Endpoint(endpoint), true)));
                }
            }
            // Stable sort: of two routes with the same destination, the explicit one comes first.
            routes.sort_by_key(|it| std::cmp::Reverse(it.destination.prefix_len()));
            index.tables.insert(key, routes);
        }
        index
    }

    /// The addresses of the internet except these.
    pub(in crate::reach) fn internet_except(&self, nets: &[Ipv4Net]) -> Ranges {
        self.internet.without(&Ranges::nets(nets))
    }

    /// An interface; `None` also if its subnet is missing.
    pub(super) fn interface(&self, name: &str) -> Option<&'a Interface> {
        let interface = self.topology.interfaces.get(name)?;
        self.subnet(&interface.subnet).map(|_| interface)
    }

    pub(super) fn subnet(&self, key: &Key) -> Option<&'a Subnet> {
        self.topology.subnets.get(key)
    }

    /// The rules of all groups of an interface.
    pub(super) fn rules(&self, interface: &str, direction: Direction) -> &[Allowed<'a>] {
        let rules = self.rules.get(interface);
        rules.map_or(&[], |rules| match direction {
            Direction::Ingress => &rules[0],
            Direction::Egress => &rules[1],
        })
    }

    /// The ACL of a subnet with its entries for a direction; `None` for the default ACL.
    pub(super) fn acl(
        &self,
        subnet: &Key,
        direction: Direction,
    ) -> Option<(&'a Key, &[Entry<'a>])> {
        let acl = self.subnet(subnet)?.network_acl.as_ref()?;
        // A deleted ACL has no entries, and denies.
        let entries = self.acls.get(&(acl, direction));
        Some((acl, entries.map_or(&[], Vec::as_slice)))
    }

    /// The route table of a subnet with its routes; `None` for the main table, which has no further
    /// routes.
    pub(super) fn table(&self, subnet: &Key) -> Option<(&'a Key, &[Routed<'a>])> {
        let table = self.subnet(subnet)?.route_table.as_ref()?;
        let routes = self.tables.get(table);
        Some((table, routes.map_or(&[], Vec::as_slice)))
    }

    /// The possible addresses of an interface.
    pub(super) fn private(&self, interface: &Interface) -> Ranges {
        match interface.address {
            Address::Known(address) => Ranges::address(address),
            Address::Pending => self.free(&interface.subnet),
        }
    }

    /// The usable addresses of a subnet.
    fn free(&self, subnet: &Key) -> Ranges {
        let Some(subnet) = self.subnet(subnet) else {
            return Ranges::default();
        };
        let first = u32::from(subnet.cidr.network()).saturating_add(RESERVED);
        let last = u32::from(subnet.cidr.broadcast()).saturating_sub(1);
        if first > last {
            return Ranges::default();
        }
        Ranges::span(first, last)
    }

    /// The possible public addresses of a resource.
    pub(super) fn outside(&self, public: Address) -> Ranges {
        match public {
            Address::Known(address) => Ranges::address(address),
            Address::Pending => self.internet.clone(),
        }
    }
}

fn allowed<'a>(
    topology: &'a Topology,
    interface: &'a Interface,
    direction: Direction,
) -> Vec<Allowed<'a>> {
    let groups = interface.groups.iter();
    let groups = groups.filter_map(|key| Some((key, topology.security_groups.get(key)?)));
    let rules = groups.flat_map(|(key, group)| {
        let rules = group.rules.iter().enumerate();
        rules.map(move |(index, rule)| (key, index, rule))
    });
    let rules = rules.filter(|(_, _, rule)| rule.direction == direction);
    let peer = |rule: &'a SecurityRule<Key>| match &rule.peer {
        Peer::Cidr(net) if net.prefix_len() == 0 => AllowedPeer::Anybody,
        Peer::Cidr(net) => AllowedPeer::Addresses(Ranges::net(*net)),
        Peer::Group(group) => AllowedPeer::Members(group),
    };
    rules
        .map(|(group, index, rule)| Allowed {
            group,
            index,
            rule,
            peer: peer(rule),
            ports: some_ports(rule.ports),
        })
        .collect()
}

impl<'a> Entry<'a> {
    fn new(entry: &'a AclEntry) -> Self {
        Self {
            entry,
            addresses: Ranges::net(entry.cidr),
            ports: some_ports(entry.ports),
        }
    }
}

impl<'a> Routed<'a> {
    fn new(destination: Ipv4Net, way: Way<'a>, alive: bool) -> Self {
        Self {
            destination,
            addresses: Ranges::net(destination),
            way,
            alive,
        }
    }
}

/// A rule's ports; `None` for all.
fn some_ports(ports: PortRange) -> Option<Ranges> {
    (ports != PortRange::ALL).then(|| Ranges::ports(ports))
}
