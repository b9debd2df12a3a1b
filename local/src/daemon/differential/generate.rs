//! Draws worlds and flows: mostly networks that somebody could have meant, with mistakes.
//!
//! Rules drawn evenly would let nothing through, and every flow would end at its first group. So each
//! part is drawn whole, broken or at random, and a flow is drawn towards ports that rules speak of.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fastrand::Rng;
use ipnet::Ipv4Net;
use landfall_network::{
    AclAction, AclEntry, Direction, NetworkAcl, Peer, PortRange, Protocol, Route, RouteTable,
    RouteTarget, SecurityRule, Subnet, Vpc,
};
use landfall_provider::{
    Input, NatGatewayId, NetworkAclId, RouteTableId, SecurityGroupId, SubnetId, VpcId,
};

use super::world::{
    Balancer, Flow, Gateway, Host, INTERNET_GATEWAY, OPERATORS, Sender, TestTopology, VPC,
};
use landfall_vnet::S3_ADDRESS;

/// Ports that rules and flows are about, so that they meet.
const PORTS: [u16; 6] = [22, 53, 80, 443, 8000, 8080];

/// Where Linux connects from: `net.ipv4.ip_local_port_range` as it comes.
const LINUX_EPHEMERAL: PortRange = PortRange {
    from: 32768,
    to: 60999,
};

/// Destinations of routes beside the one for everywhere.
const SPECIFIC: [&str; 4] = [
    "203.0.113.251/32",
    "203.0.113.248/29",
    "203.0.113.0/26",
    "198.51.100.0/24",
];

/// How many flows are tried in one world.
const FLOWS: usize = 24;

/// The world and the flows of a seed; the same ones each time.
pub(super) fn case(seed: u64) -> (TestTopology, Vec<Flow>) {
    let mut draw = Draw {
        rng: Rng::with_seed(seed),
        next_public: 10,
        taken: BTreeSet::new(),
        friendly: false,
    };
    draw.friendly = draw.chance(20);
    let world = draw.world();
    let flows = (0..FLOWS).map(|_| draw.flow(&world)).collect();
    (world, flows)
}

struct Draw {
    rng: Rng,
    /// The last byte of the next public address.
    next_public: u8,
    /// Private addresses that are given out.
    taken: BTreeSet<Ipv4Addr>,
    /// Whether the network is one in which everything works, but for groups that know their friends by
    /// their groups alone.
    friendly: bool,
}

impl Draw {
    /// True this many times of a hundred in networks with mistakes, and never in others.
    fn mistake(&mut self, percent: u32) -> bool {
        self.chance(percent) && !self.friendly
    }

    /// True this many times of a hundred.
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.usize(0..from.len())].clone()
    }

    fn public_address(&mut self) -> Ipv4Addr {
        self.next_public += 1;
        Ipv4Addr::new(203, 0, 113, self.next_public)
    }

    fn private_address(&mut self, subnet: Ipv4Net) -> Ipv4Addr {
        let first = u32::from(subnet.network());
        loop {
            let address = Ipv4Addr::from(first + self.rng.u32(4..subnet.hosts().count() as u32));
            if self.taken.insert(address) {
                return address;
            }
        }
    }

    fn world(&mut self) -> TestTopology {
        let mut world = TestTopology {
            vpc: Vpc {
                cidr: "10.0.0.0/16".parse().unwrap(),
            },
            internet_gateway: !self.mistake(8),
            subnets: [].into(),
            route_tables: [].into(),
            network_acls: [].into(),
            groups: [].into(),
            nat_gateways: [].into(),
            endpoint: None,
            instances: [].into(),
            balancer: None,
        };
        let zones = self.rng.u8(1..=3);
        for (number, name) in [(0, "public"), (10, "private"), (20, "inner")] {
            for zone in 0..zones {
                if name == "inner" && self.chance(70) {
                    continue;
                }
                let letter = char::from(b'a' + zone);
                let cidr = Ipv4Net::new(Ipv4Addr::new(10, 0, number + zone, 0), 24).unwrap();
                let subnet = Subnet {
                    vpc: vpc(),
                    zone: format!("local-1{letter}").parse().unwrap(),
                    cidr,
                };
                let id = format!("subnet-{name}-{letter}").into();
                world.subnets.insert(id, subnet);
            }
        }
        self.nat_gateways(&mut world);
        self.route_tables(&mut world);
        self.groups(&mut world);
        self.hosts(&mut world);
        if !self.friendly {
            self.acls(&mut world);
        }
        world
    }

    /// One in each zone, one in the first, or none; now and then where it cannot work.
    fn nat_gateways(&mut self, world: &mut TestTopology) {
        let zones = ids(world, "public");
        let zones = match self.rng.u8(0..10) {
            _ if self.friendly => zones,
            0..5 => zones,
            5..8 => zones[..1].to_vec(),
            _ => Vec::new(),
        };
        for subnet in zones {
            let id = NatGatewayId::from(format!("nat-{}", letter(&subnet)));
            let subnet = if self.mistake(10) {
                format!("subnet-private-{}", letter(&subnet)).into()
            } else {
                subnet
            };
            let gateway = Gateway {
                address: self.private_address(world.subnets[&subnet].cidr),
                public_address: self.public_address(),
                subnet,
            };
            world.nat_gateways.insert(id, gateway);
        }
    }

    fn route_tables(&mut self, world: &mut TestTopology) {
        let anywhere: Ipv4Net = "0.0.0.0/0".parse().unwrap();
        let mut tables = vec![("rtb-public".to_owned(), ids(world, "public"))];
        for subnet in ids(world, "private") {
            let table = format!("rtb-private-{}", letter(&subnet));
            tables.push((table, vec![subnet]));
        }
        tables.push(("rtb-inner".to_owned(), ids(world, "inner")));
        for (id, subnets) in tables {
            let public = id == "rtb-public";
            if !public && self.mistake(8) {
                continue;
            }
            let usual = if public {
                internet_gateway()
            } else {
                self.nat_target(world, &id)
            };
            let mut routes = Vec::new();
            let narrow = self.pick(&["203.0.113.0/25", "203.0.113.251/32", "198.51.100.0/24"]);
            match self.rng.u8(0..20) {
                _ if self.friendly => routes.push((anywhere, usual)),
                0..14 => routes.push((anywhere, usual)),
                14 => routes.push((anywhere, internet_gateway())),
                15..17 => routes.push((anywhere, self.nat_target(world, &id))),
                17..19 => routes.push((narrow.parse().unwrap(), usual)),
                _ => {}
            }
            if self.mistake(50) {
                let to = self.pick(&SPECIFIC);
                let via = match self.rng.u8(0..3) {
                    0 => internet_gateway(),
                    1 => self.nat_target(world, &id),
                    _ => gone(),
                };
                routes.push((to.parse().unwrap(), via));
            }
            let routes = routes.into_iter();
            let table = RouteTable {
                vpc: vpc(),
                routes: routes
                    .map(|(destination, via)| Route { destination, via })
                    .collect(),
                subnets: subnets.into_iter().map(Input::from).collect(),
            };
            world.route_tables.insert(RouteTableId::from(id), table);
        }
        if self.chance(60) {
            let tables: Vec<_> = world.route_tables.keys().cloned().collect();
            let with = tables.into_iter().filter(|_| self.chance(70)).collect();
            world.endpoint = Some(with);
        }
    }

    /// The zone's own NAT gateway, or another one, or one that is gone.
    fn nat_target(&mut self, world: &TestTopology, table: &str) -> RouteTarget {
        let zone = table.rsplit('-').next().unwrap_or_default();
        let own = NatGatewayId::from(format!("nat-{zone}"));
        let all: Vec<_> = world.nat_gateways.keys().cloned().collect();
        match () {
            () if self.mistake(6) || all.is_empty() => gone(),
            () if all.contains(&own) && !self.mistake(15) => RouteTarget::NatGateway(own.into()),
            () => RouteTarget::NatGateway(self.pick(&all).into()),
        }
    }

    fn groups(&mut self, world: &mut TestTopology) {
        let ids: Vec<SecurityGroupId> = ["sg-bastion", "sg-db", "sg-lb", "sg-web"]
            .map(SecurityGroupId::from)
            .to_vec();
        for id in &ids {
            let mut rules = Vec::new();
            let sort = if self.friendly {
                11
            } else {
                self.rng.u8(0..20)
            };
            match sort {
                0 => {}
                1..5 => rules.push(everything(Direction::Egress, any())),
                5..11 => {
                    rules.push(everything(Direction::Egress, any()));
                    rules.push(everything(Direction::Ingress, any()));
                }
                11..16 => {
                    rules.push(everything(Direction::Egress, any()));
                    for _ in 0..self.rng.u8(1..=3) {
                        let peer = Peer::Group(self.pick(&ids).into());
                        rules.push(everything(Direction::Ingress, peer));
                    }
                }
                _ => self.random_rules(Direction::Egress, &ids, &mut rules),
            }
            if !rules.is_empty() && self.mistake(90) {
                self.random_rules(Direction::Ingress, &ids, &mut rules);
            }
            world.groups.insert(id.clone(), rules);
        }
    }

    fn random_rules(
        &mut self,
        direction: Direction,
        groups: &[SecurityGroupId],
        rules: &mut Vec<SecurityRule>,
    ) {
        for _ in 0..self.rng.u8(1..=4) {
            let (protocol, ports) = self.traffic();
            let peer = if self.chance(40) {
                Peer::Group(self.pick(groups).into())
            } else {
                Peer::Cidr(self.cidr())
            };
            rules.push(rule(direction, protocol, ports, peer));
        }
    }

    fn traffic(&mut self) -> (Protocol, PortRange) {
        let protocol = match self.rng.u8(0..20) {
            0..11 => Protocol::Tcp,
            11..14 => Protocol::Udp,
            14..16 => Protocol::Icmp,
            _ => Protocol::All,
        };
        if matches!(protocol, Protocol::Icmp | Protocol::All) {
            return (protocol, PortRange::ALL);
        }
        let port = self.pick(&PORTS);
        let ports = match self.rng.u8(0..10) {
            0..5 => range(port, port),
            5 => range(0, 1023),
            6 => range(8000, 8080),
            7 => range(port, port.saturating_add(self.rng.u16(0..2000))),
            8 => PortRange::EPHEMERAL,
            _ => PortRange::ALL,
        };
        (protocol, ports)
    }

    fn cidr(&mut self) -> Ipv4Net {
        let fixed = [
            "0.0.0.0/0",
            "0.0.0.0/0",
            "10.0.0.0/16",
            "10.0.0.0/16",
            "10.0.0.0/20",
            "10.0.10.0/23",
            "10.0.0.0/25",
            "203.0.113.0/24",
            "203.0.113.250/32",
            "203.0.113.128/25",
            "198.51.100.0/24",
        ];
        let taken: Vec<Ipv4Addr> = self.taken.iter().copied().collect();
        match self.rng.u8(0..10) {
            0..8 => self.pick(&fixed).parse().unwrap(),
            8 if !taken.is_empty() => Ipv4Net::from(self.pick(&taken)),
            _ => {
                let third = self.pick(&[0, 1, 10, 11, 20]);
                Ipv4Net::new(Ipv4Addr::new(10, 0, third, 0), 24).unwrap()
            }
        }
    }

    fn hosts(&mut self, world: &mut TestTopology) {
        let groups: Vec<_> = world.groups.keys().cloned().collect();
        let subnets: Vec<_> = world.subnets.keys().cloned().collect();
        let count = self.rng.usize(3..=6);
        for number in 0..count {
            let subnet = self.pick(&subnets);
            let public = if subnet.as_ref().contains("public") {
                85
            } else {
                10
            };
            let host = Host {
                address: self.private_address(world.subnets[&subnet].cidr),
                public_address: self.chance(public).then(|| self.public_address()),
                groups: self.some_groups(&groups),
                subnet,
            };
            world.instances.insert(format!("i-{number}").into(), host);
        }
        let zones = ids(world, "public");
        if zones.len() > 1 {
            let nodes = zones.into_iter().map(|subnet| Gateway {
                address: self.private_address(world.subnets[&subnet].cidr),
                public_address: self.public_address(),
                subnet,
            });
            let nodes = nodes.collect();
            let groups = self.some_groups(&groups);
            world.balancer = Some(Balancer { groups, nodes });
        }
    }

    fn some_groups(&mut self, groups: &[SecurityGroupId]) -> Vec<SecurityGroupId> {
        let count = self.pick(&[1, 1, 1, 2, 3]);
        let some: BTreeSet<_> = (0..count).map(|_| self.pick(groups)).collect();
        some.into_iter().collect()
    }

    /// A few ACLs; some subnets have none, as with the default ACL that lets everything pass.
    fn acls(&mut self, world: &mut TestTopology) {
        let mut subnets: Vec<SubnetId> = world.subnets.keys().cloned().collect();
        self.rng.shuffle(&mut subnets);
        for number in 0..self.rng.usize(1..=3) {
            let count = self.rng.usize(0..=subnets.len().min(3));
            let guarded = subnets.split_off(subnets.len() - count);
            let mut entries = Vec::new();
            for direction in [Direction::Ingress, Direction::Egress] {
                self.entries(direction, &mut entries);
            }
            let acl = NetworkAcl {
                vpc: vpc(),
                entries,
                subnets: guarded.into_iter().map(Input::from).collect(),
            };
            let id = NetworkAclId::from(format!("acl-{number}"));
            world.network_acls.insert(id, acl);
        }
    }

    fn entries(&mut self, direction: Direction, entries: &mut Vec<AclEntry>) {
        let mut drawn: Vec<(AclAction, Protocol, PortRange, Ipv4Net)> = Vec::new();
        let anywhere = || "0.0.0.0/0".parse().unwrap();
        match self.rng.u8(0..20) {
            // What a careful person writes, without the answers in one of three.
            0..8 => {
                for port in PORTS {
                    if self.chance(80) {
                        let protocol = self.pick(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp]);
                        let cidr = anywhere();
                        drawn.push((AclAction::Allow, protocol, range(port, port), cidr));
                    }
                }
                if self.chance(66) {
                    for protocol in [Protocol::Tcp, Protocol::Udp] {
                        let ports = match self.rng.u8(0..4) {
                            0 => LINUX_EPHEMERAL,
                            1 => range(32768, 65535),
                            _ => PortRange::EPHEMERAL,
                        };
                        let cidr = if self.chance(75) {
                            anywhere()
                        } else {
                            self.cidr()
                        };
                        drawn.push((AclAction::Allow, protocol, ports, cidr));
                    }
                }
            }
            8..14 => {
                for _ in 0..self.rng.u8(0..=3) {
                    let (protocol, ports) = self.traffic();
                    let cidr = self.cidr();
                    drawn.push((AclAction::Deny, protocol, ports, cidr));
                }
                drawn.push((AclAction::Allow, Protocol::All, PortRange::ALL, anywhere()));
            }
            14..19 => {
                for _ in 0..self.rng.u8(1..=6) {
                    let action = if self.chance(65) {
                        AclAction::Allow
                    } else {
                        AclAction::Deny
                    };
                    let (protocol, ports) = self.traffic();
                    let cidr = self.cidr();
                    drawn.push((action, protocol, ports, cidr));
                }
            }
            _ => {}
        }
        // Numbers rise in the order of the list, but the entries stand in any.
        let mut number = 0;
        let first = entries.len();
        for (action, protocol, ports, cidr) in drawn {
            number += self.rng.u16(1..2000);
            entries.push(AclEntry {
                number,
                direction,
                action,
                protocol,
                ports,
                cidr,
            });
        }
        self.rng.shuffle(&mut entries[first..]);
    }

    fn flow(&mut self, world: &TestTopology) -> Flow {
        let instances: Vec<_> = world.instances.keys().cloned().collect();
        let nodes = world
            .balancer
            .as_ref()
            .map_or(0, |balancer| balancer.nodes.len());
        let from = match self.rng.u8(0..20) {
            0..7 => Sender::Internet(self.pick(&OPERATORS)),
            7..10 if nodes > 0 => Sender::Node(self.rng.usize(0..nodes)),
            _ => Sender::Instance(self.pick(&instances)),
        };
        let to = self.destination(world, &from);
        let protocol = match self.rng.u8(0..20) {
            0..7 if to == S3_ADDRESS => Protocol::Udp,
            0..14 => Protocol::Tcp,
            14..17 => Protocol::Udp,
            _ => Protocol::Icmp,
        };
        let port = if self.chance(92) {
            self.pick(&PORTS)
        } else {
            self.rng.u16(1..10000)
        };
        let source_ports = self.chance(70).then(|| {
            let port = self.rng.u16(LINUX_EPHEMERAL.from..=LINUX_EPHEMERAL.to);
            range(port, port)
        });
        Flow {
            from,
            to,
            protocol,
            port,
            source_ports,
            served: self.chance(50),
        }
    }

    fn destination(&mut self, world: &TestTopology, from: &Sender) -> Ipv4Addr {
        let interfaces = world.interfaces();
        let (_, private, own) = self.pick(&interfaces);
        let public: Vec<_> = interfaces.iter().filter_map(|it| it.2).collect();
        let public = if public.is_empty() {
            private
        } else {
            self.pick(&public)
        };
        let gateways: Vec<_> = world.nat_gateways.values().cloned().collect();
        let outside = matches!(from, Sender::Internet(_));
        let hidden = match from {
            Sender::Instance(id) => world.instances[id].public_address.is_none(),
            Sender::Internet(_) | Sender::Node(_) => false,
        };
        match self.rng.u8(0..40) {
            0 => "10.0.200.9".parse().unwrap(),
            1 if outside => "203.0.113.199".parse().unwrap(),
            2..4 if !gateways.is_empty() => self.pick(&gateways).public_address,
            4 if !gateways.is_empty() => self.pick(&gateways).address,
            5..37 if outside => public,
            // By way of a NAT gateway, to what may know it by its group.
            25..37 if hidden => public,
            5..12 => self.pick(&OPERATORS),
            12..16 => S3_ADDRESS,
            16..25 => own.unwrap_or(private),
            _ => private,
        }
    }
}

fn vpc() -> Input<VpcId> {
    VpcId::from(VPC).into()
}

/// A NAT gateway that was deleted, and the route to it was not.
fn gone() -> RouteTarget {
    RouteTarget::NatGateway(NatGatewayId::from("nat-gone").into())
}

fn internet_gateway() -> RouteTarget {
    RouteTarget::InternetGateway(Input::Known(INTERNET_GATEWAY.into()))
}

/// The subnets of a sort.
fn ids(world: &TestTopology, sort: &str) -> Vec<SubnetId> {
    let all = world.subnets.keys();
    all.filter(|id| id.as_ref().contains(sort))
        .cloned()
        .collect()
}

/// The letter of a subnet's zone.
fn letter(subnet: &SubnetId) -> &str {
    let id: &str = subnet.as_ref();
    &id[id.len() - 1..]
}

fn any() -> Peer {
    Peer::Cidr("0.0.0.0/0".parse().unwrap())
}

fn everything(direction: Direction, peer: Peer) -> SecurityRule {
    rule(direction, Protocol::All, PortRange::ALL, peer)
}

fn range(from: u16, to: u16) -> PortRange {
    PortRange { from, to }
}

fn rule(direction: Direction, protocol: Protocol, ports: PortRange, peer: Peer) -> SecurityRule {
    SecurityRule {
        direction,
        protocol,
        ports,
        peer,
        description: String::new(),
    }
}
