//! Topologies with random rules, so that every kind of mistake occurs in some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::{Key, Zone};
use proptest::prelude::*;
use proptest::sample::select;

use super::support::{interface, key};
use crate::reach::{
    Address, Balancer, End, Endpoint, Flow, Interface, Listener, NatGateway, NetworkAcl, Role,
    RouteTable, SecurityGroup, Subnet, Target, TargetGroup, Topology, stand_in,
};
use crate::{
    AclAction, AclEntry, Direction, EndpointService, Peer, PortRange, Protocol, SecurityRule,
};

const SUBNETS: [&str; 3] = ["subnet/a", "subnet/b", "subnet/c"];
const TABLES: [&str; 2] = ["route-table/a", "route-table/b"];
const ACLS: [&str; 2] = ["network-acl/a", "network-acl/b"];
const GROUPS: [&str; 3] = ["security-group/a", "security-group/b", "security-group/c"];
const INTERFACES: [&str; 4] = ["a/1", "b/1", "c/1", "d/1"];

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// Whether a layer allows everything that it does not deny explicitly. Without open layers, hardly
/// any packet would pass the first one.
fn open() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.7)
}

fn direction() -> impl Strategy<Value = Direction> {
    select(vec![Direction::Ingress, Direction::Egress])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Icmp,
        Protocol::All,
    ])
}

fn ports() -> impl Strategy<Value = PortRange> {
    select(vec![
        (0, 65535),
        (80, 80),
        (80, 443),
        (1024, 65535),
        (32768, 60999),
        (8000, 40000),
    ])
    .prop_map(|(from, to)| PortRange { from, to })
}

fn block() -> impl Strategy<Value = Ipv4Net> {
    select(vec![
        "0.0.0.0/0",
        "0.0.0.0/0",
        "10.0.0.0/16",
        "10.0.0.0/24",
        "10.0.1.0/24",
        "10.0.1.0/28",
        "10.0.2.5/32",
        "203.0.113.0/24",
        "203.0.113.7/32",
        "198.51.100.0/24",
        "128.0.0.0/1",
    ])
    .prop_map(net)
}

pub(super) fn group_rule() -> impl Strategy<Value = (Key, SecurityRule<Key>)> {
    let peer = prop_oneof![
        block().prop_map(Peer::Cidr),
        select(&GROUPS[..]).prop_map(|group| Peer::Group(key(group))),
    ];
    (select(&GROUPS[..]), direction(), protocol(), ports(), peer).prop_map(
        |(group, direction, protocol, ports, peer)| {
            let rule = SecurityRule {
                direction,
                protocol,
                ports,
                peer,
                description: String::new(),
            };
            (key(group), rule)
        },
    )
}

fn acl() -> impl Strategy<Value = NetworkAcl> {
    let action = prop_oneof![3 => Just(AclAction::Allow), 1 => Just(AclAction::Deny)];
    let entry = (1u16..9, direction(), action, protocol(), ports(), block()).prop_map(
        |(number, direction, action, protocol, ports, cidr)| AclEntry {
            number: number * 10,
            direction,
            action,
            protocol,
            ports,
            cidr,
        },
    );
    (prop::collection::vec(entry, 0..8), open()).prop_map(|(entries, open)| {
        // A number is unique per direction.
        let mut once = BTreeMap::new();
        for entry in entries {
            once.insert((entry.direction, entry.number), entry);
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            let entry = AclEntry {
                number: 100,
                direction,
                action: AclAction::Allow,
                protocol: Protocol::All,
                ports: PortRange::ALL,
                cidr: net("0.0.0.0/0"),
            };
            if open {
                once.insert((direction, entry.number), entry);
            }
        }
        NetworkAcl {
            entries: once.into_values().collect(),
        }
    })
}

fn table() -> impl Strategy<Value = RouteTable> {
    let target = prop_oneof![
        4 => Just(Target::InternetGateway(key("internet-gateway/main"))),
        3 => Just(Target::NatGateway(key("nat-gateway/a"))),
        1 => Just(Target::NatGateway(key("nat-gateway/gone"))),
    ];
    let destination = select(vec![
        "0.0.0.0/0",
        "0.0.0.0/0",
        "203.0.113.0/24",
        "198.51.100.0/24",
        "203.0.113.7/32",
    ])
    .prop_map(net);
    prop::collection::btree_map(destination, target, 0..3).prop_map(|routes| RouteTable { routes })
}

fn an_interface(number: usize) -> impl Strategy<Value = Interface> {
    let groups = prop::collection::btree_set(select(&GROUPS[..]).prop_map(key), 1..3);
    let private = any::<bool>();
    let public = prop::option::of(any::<bool>());
    (0..SUBNETS.len(), private, public, groups).prop_map(move |(subnet, known, public, groups)| {
        let last = 5 + u8::try_from(number).unwrap();
        let address = Ipv4Addr::new(10, 0, u8::try_from(subnet).unwrap(), last);
        let outside = Ipv4Addr::new(203, 0, 113, 100 + last);
        let address_of = |known, address| {
            if known {
                Address::Known(address)
            } else {
                Address::Pending
            }
        };
        Interface {
            subnet: key(SUBNETS[subnet]),
            address: address_of(known, address),
            public: public.map(|known| address_of(known, outside)),
            groups,
            role: if number == 0 {
                Role::Node(key("load-balancer/main"))
            } else {
                Role::Other
            },
        }
    })
}

fn everything() -> Vec<SecurityRule<Key>> {
    [Direction::Ingress, Direction::Egress]
        .map(|direction| SecurityRule {
            direction,
            protocol: Protocol::All,
            ports: PortRange::ALL,
            peer: Peer::Cidr(net("0.0.0.0/0")),
            description: String::new(),
        })
        .to_vec()
}

/// A VPC with three subnets, four interfaces of which one is a balancer's node, and rules of every
/// kind.
pub(super) fn topology() -> impl Strategy<Value = Topology> {
    let optional = |keys: &'static [&'static str]| prop::option::weighted(0.8, select(keys));
    let subnets = prop::array::uniform3((optional(&TABLES), optional(&ACLS)));
    let rules = (
        prop::collection::vec(group_rule(), 0..16),
        prop::array::uniform3(open()),
    );
    let interfaces = (
        an_interface(0),
        an_interface(1),
        an_interface(2),
        an_interface(3),
    );
    let gateways = (
        prop::option::weighted(0.9, Just(())),
        prop::option::weighted(0.8, 0..SUBNETS.len()),
        prop::option::weighted(0.5, Just(())),
    );
    (
        subnets,
        prop::array::uniform2(table()),
        prop::array::uniform2(acl()),
        rules,
        interfaces,
        gateways,
        prop::collection::btree_set(select(&INTERFACES[1..]), 0..3),
    )
        .prop_map(
            |(
                subnets,
                tables,
                acls,
                (rules, open_groups),
                interfaces,
                (internet, nat, endpoint),
                targets,
            )| {
                let mut topology = Topology::new(net("10.0.0.0/16"));
                topology.internet_gateway = internet.map(|()| key("internet-gateway/main"));
                for (number, (name, (table, acl))) in SUBNETS.iter().zip(subnets).enumerate() {
                    let subnet = Subnet {
                        cidr: net(&format!("10.0.{number}.0/24")),
                        zone: Zone::new("ap-south-1a").unwrap(),
                        route_table: table.map(key),
                        network_acl: acl.map(key),
                    };
                    topology.subnets.insert(key(name), subnet);
                }
                topology.route_tables = TABLES.map(key).into_iter().zip(tables).collect();
                topology.network_acls = ACLS.map(key).into_iter().zip(acls).collect();
                for (group, open) in GROUPS.iter().zip(open_groups) {
                    let rules = if open { everything() } else { Vec::new() };
                    let group = (key(group), SecurityGroup { rules });
                    topology.security_groups.extend([group]);
                }
                for (group, rule) in rules {
                    let group = topology.security_groups.get_mut(&group).unwrap();
                    group.rules.push(rule);
                }
                if let Some(subnet) = nat {
                    let gateway = NatGateway {
                        subnet: key(SUBNETS[subnet]),
                        public: Address::Known(Ipv4Addr::new(203, 0, 113, 99)),
                    };
                    topology.nat_gateways.insert(key("nat-gateway/a"), gateway);
                }
                if endpoint.is_some() {
                    let endpoint = Endpoint {
                        service: EndpointService::S3,
                        prefixes: stand_in(EndpointService::S3),
                        route_tables: [key(TABLES[0])].into(),
                    };
                    topology
                        .endpoints
                        .insert(key("gateway-endpoint/s3"), endpoint);
                }
                let (a, b, c, d) = interfaces;
                let names = INTERFACES.map(str::to_owned);
                topology.interfaces = names.into_iter().zip([a, b, c, d]).collect();
                add_balancer(&mut topology, &targets);
                topology
            },
        )
}

fn add_balancer(topology: &mut Topology, targets: &BTreeSet<&str>) {
    let listener = Listener {
        port: 80,
        default: key("target-group/a"),
        rules: BTreeMap::new(),
    };
    let balancer = Balancer {
        nodes: [INTERFACES[0].to_owned()].into(),
        listeners: [(key("listener/http"), listener)].into(),
    };
    topology
        .balancers
        .insert(key("load-balancer/main"), balancer);
    let group = TargetGroup {
        port: 8000,
        health_port: 8000,
        targets: targets.iter().map(|name| (*name).to_owned()).collect(),
    };
    topology.target_groups.insert(key("target-group/a"), group);
}

/// A flow between ends of every kind; not every topology contains them all.
pub(super) fn flow() -> impl Strategy<Value = Flow> {
    let end = || {
        prop_oneof![
            4 => Just(End::Internet),
            2 => block().prop_map(End::Addresses),
            16 => select(&INTERFACES[..]).prop_map(interface),
            4 => Just(End::Balancer(key("load-balancer/main"))),
            1 => Just(End::NatGateway(key("nat-gateway/a"))),
            2 => Just(End::Service(EndpointService::S3)),
            4 => Just(End::Addresses(net("203.0.113.106/32"))),
        ]
    };
    let protocol = select(vec![
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Icmp,
    ]);
    let ports = select(vec![(80, 80), (8000, 8000), (443, 443), (0, 65535)]);
    (end(), end(), protocol, ports).prop_map(|(from, to, protocol, (first, last))| Flow {
        from,
        to,
        protocol,
        ports: PortRange {
            from: first,
            to: last,
        },
        source_ports: None,
    })
}
