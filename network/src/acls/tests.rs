//! Packets that cross the ACLs: required traffic passes, forbidden traffic does not.

use super::*;
use crate::layout::layout;
use crate::ports::ServicePort;
use landfall_provider::ResourceName;

const CLIENT: &str = "198.51.100.9";
const OPERATOR: &str = "203.0.113.7";
/// Public subnets of zones a and b: a balancer node or a bastion, and a NAT gateway.
const NODE: &str = "10.0.192.10";
const NAT: &str = "10.0.196.5";
/// Private subnets of zones a and b.
const INSTANCE: &str = "10.0.0.10";
const OTHER_INSTANCE: &str = "10.0.32.10";

struct Acls {
    layout: Layout,
    public: Vec<AclEntry>,
    private: Vec<AclEntry>,
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn acls(nat: NatMode, s3_endpoint: bool, bastion: bool) -> Acls {
    let layout = layout("10.0.0.0/16".parse().unwrap(), 3).unwrap();
    let ports = OpenPorts {
        bastion_allow: bastion.then(|| vec!["203.0.113.0/28".parse().unwrap()]),
        ..OpenPorts::new(
            vec![port(80)],
            vec![ServicePort {
                name: ResourceName::new("web").unwrap(),
                port: port(8000),
            }],
        )
    };
    let borders = Borders {
        layout: &layout,
        ports: &ports,
        nat,
        s3_endpoint,
    };
    let (public, private) = (borders.public().unwrap(), borders.private().unwrap());
    Acls {
        layout,
        public,
        private,
    }
}

fn first_match(
    entries: &[AclEntry],
    direction: Direction,
    protocol: Protocol,
    port: u16,
    remote: Ipv4Addr,
) -> bool {
    entries
        .iter()
        .filter(|entry| entry.direction == direction)
        .filter(|entry| entry.protocol == protocol && entry.cidr.contains(&remote))
        .filter(|entry| protocol == Protocol::Icmp || entry.ports.contains(port))
        .min_by_key(|entry| entry.number)
        .is_some_and(|entry| entry.action == AclAction::Allow)
}

impl Acls {
    /// The subnet of an address, and its entries; `None` on the internet.
    fn subnet(&self, address: Ipv4Addr) -> Option<(Ipv4Net, &[AclEntry])> {
        let of = |blocks: &[Ipv4Net]| {
            blocks
                .iter()
                .find(|block| block.contains(&address))
                .copied()
        };
        of(&self.layout.public)
            .map(|block| (block, &self.public[..]))
            .or(of(&self.layout.private).map(|block| (block, &self.private[..])))
    }

    /// Whether one packet is allowed from one address to another.
    fn packet(&self, protocol: Protocol, from: &str, to: &str, port: u16) -> bool {
        let (from, to): (Ipv4Addr, Ipv4Addr) = (from.parse().unwrap(), to.parse().unwrap());
        let (source, target) = (self.subnet(from), self.subnet(to));
        if source.is_some() && source.map(|(block, _)| block) == target.map(|(block, _)| block) {
            return true;
        }
        source.is_none_or(|(_, acl)| first_match(acl, Direction::Egress, protocol, port, to))
            && target
                .is_none_or(|(_, acl)| first_match(acl, Direction::Ingress, protocol, port, from))
    }

    /// Whether a connection and its answers are allowed, from the lowest and the highest source
    /// port.
    fn connects(&self, from: &str, to: &str, port: u16) -> bool {
        self.packet(Protocol::Tcp, from, to, port)
            && [1024, 32768, 65535]
                .iter()
                .all(|&ephemeral| self.packet(Protocol::Tcp, to, from, ephemeral))
    }

    /// Whether an instance reaches the internet through a NAT gateway in a public subnet. Its
    /// packets enter the gateway's subnet with the remote address, and leave it with the gateway's.
    fn connects_over_nat(&self, instance: &str, remote: &str, port: u16) -> bool {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let (instance, far) = (address(instance), address(remote));
        let tcp = |acl: &[AclEntry], direction, port, remote| {
            first_match(acl, direction, Protocol::Tcp, port, remote)
        };
        tcp(&self.private, Direction::Egress, port, far)
            && tcp(&self.public, Direction::Ingress, port, instance)
            && self.connects(NAT, remote, port)
            && tcp(&self.public, Direction::Egress, 40000, instance)
            && tcp(&self.private, Direction::Ingress, 40000, far)
    }
}

#[test]
fn clients_reach_the_listener_and_nothing_else() {
    for nat in [NatMode::PerZone, NatMode::Single, NatMode::None] {
        let acls = acls(nat, true, true);
        assert!(acls.connects(CLIENT, NODE, 80));
        for closed in [22, 25, 443, 1023] {
            assert!(!acls.connects(CLIENT, NODE, closed), "{closed}");
        }
        for closed in [22, 80, 443] {
            assert!(!acls.connects(CLIENT, INSTANCE, closed), "{closed}");
        }
        // High ports are open at the border only where answers from the internet arrive; the
        // security groups are closed there.
        assert_eq!(acls.connects(CLIENT, NODE, 8000), nat != NatMode::None);
        assert!(!acls.connects(CLIENT, INSTANCE, 8000));
    }
}

#[test]
fn the_balancer_reaches_services_in_every_zone() {
    for nat in [NatMode::PerZone, NatMode::None] {
        let acls = acls(nat, false, false);
        assert!(acls.connects(NODE, INSTANCE, 8000));
        assert!(acls.connects(NODE, OTHER_INSTANCE, 8000));
        assert!(!acls.connects(NODE, INSTANCE, 22));
        assert!(!acls.connects(NODE, INSTANCE, 443));
        // High ports stay open where answers from the internet cross the same border.
        assert_eq!(acls.connects(NODE, INSTANCE, 8080), nat != NatMode::None);
    }
}

#[test]
fn ssh_goes_over_the_bastion_from_where_it_may() {
    let with = acls(NatMode::PerZone, true, true);
    assert!(with.connects(OPERATOR, NODE, 22));
    assert!(with.connects(NODE, OTHER_INSTANCE, 22));
    assert!(!with.connects(CLIENT, NODE, 22));
    assert!(!with.connects(INSTANCE, OTHER_INSTANCE, 22));

    let without = acls(NatMode::PerZone, true, false);
    assert!(!without.connects(OPERATOR, NODE, 22));
    assert!(!without.connects(NODE, INSTANCE, 22));
}

#[test]
fn instances_reach_the_internet_over_nat_on_the_declared_ports() {
    for nat in [NatMode::PerZone, NatMode::Single] {
        let acls = acls(nat, true, false);
        assert!(acls.connects_over_nat(OTHER_INSTANCE, CLIENT, 443));
        assert!(acls.connects_over_nat(OTHER_INSTANCE, CLIENT, 80));
        assert!(!acls.connects_over_nat(OTHER_INSTANCE, CLIENT, 25));
        // A router's "fragmentation needed" reaches the gateway, and then the instance.
        assert!(acls.packet(Protocol::Icmp, CLIENT, NAT, 0));
        assert!(acls.packet(Protocol::Icmp, NAT, INSTANCE, 0));
    }
    assert!(!acls(NatMode::None, true, false).connects_over_nat(INSTANCE, CLIENT, 443));
}

#[test]
fn instances_reach_s3_over_the_endpoint_without_nat() {
    // The endpoint is a route: packets travel directly from the private subnet to a public address.
    let s3 = "52.219.62.1";
    assert!(acls(NatMode::None, true, false).connects(INSTANCE, s3, 443));
    assert!(!acls(NatMode::None, false, false).connects(INSTANCE, s3, 443));
}

#[test]
fn a_port_more_does_not_renumber_other_sections() {
    let layout = layout("10.0.0.0/16".parse().unwrap(), 2).unwrap();
    let entries = |listeners: Vec<Port>| {
        let ports = OpenPorts::new(listeners, vec![]);
        let borders = Borders {
            layout: &layout,
            ports: &ports,
            nat: NatMode::PerZone,
            s3_endpoint: true,
        };
        borders.public().unwrap()
    };
    let (one, two) = (entries(vec![port(80)]), entries(vec![port(80), port(8443)]));
    assert_eq!(two.len(), one.len() + 1);
    assert!(one.iter().all(|entry| two.contains(entry)));

    // Fifteen entries in the first section shift the others, which keep their order.
    let many = entries((1..=15).map(port).collect());
    let numbers: Vec<u16> = many
        .iter()
        .filter(|entry| entry.direction == Direction::Ingress)
        .map(|entry| entry.number)
        .collect();
    assert_eq!(numbers[14], 240);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
}
