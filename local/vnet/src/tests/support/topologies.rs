//! Topologies, whole ones and their pieces.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use landfall_network::PortRange;

use crate::{
    GroupRule, GroupRulePeer, Interface, LoweredAclEntry, NatGateway, NetworkAcl, NextHop,
    RouteTable, SecurityGroup, Subnet, Topology, Traffic, Vpc,
};

pub(in crate::tests) fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(in crate::tests) fn network(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// The host on the internet from which tests connect.
pub(in crate::tests) const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 250);

/// A topology with the internet's hosts, and nothing else.
pub(in crate::tests) fn internet() -> Topology {
    Topology {
        internet_hosts: [CLIENT, Ipv4Addr::new(203, 0, 113, 251)].into(),
        ..Topology::default()
    }
}

/// Adds a VPC with an internet gateway and one public subnet `subnet-<suffix>`, 10.0.0.0/24.
pub(in crate::tests) fn add_public_vpc(topology: &mut Topology, suffix: &str) {
    let vpc = format!("vpc-{suffix}");
    topology.vpcs.insert(
        vpc.as_str().into(),
        Vpc {
            cidr: network("10.0.0.0/16"),
            internet_gateway: true,
        },
    );
    let table = format!("rtb-{suffix}");
    topology.route_tables.insert(
        table.as_str().into(),
        RouteTable {
            routes: [(network("0.0.0.0/0"), NextHop::InternetGateway)].into(),
        },
    );
    add_subnet(topology, suffix, suffix, "10.0.0.0/24", Some(&table));
}

/// Adds `subnet-<suffix>` to `vpc-<vpc>`.
pub(in crate::tests) fn add_subnet(
    topology: &mut Topology,
    suffix: &str,
    vpc: &str,
    cidr: &str,
    table: Option<&str>,
) {
    topology.subnets.insert(
        format!("subnet-{suffix}").as_str().into(),
        Subnet {
            vpc: format!("vpc-{vpc}").as_str().into(),
            cidr: network(cidr),
            route_table: table.map(Into::into),
            network_acl: None,
        },
    );
}

/// Adds `eni-<name>` to `subnet-<subnet>`.
pub(in crate::tests) fn add_interface(
    topology: &mut Topology,
    name: &str,
    subnet: &str,
    at: &str,
    public: Option<&str>,
    groups: &[&str],
) {
    topology.interfaces.insert(
        format!("eni-{name}").as_str().into(),
        Interface {
            subnet: format!("subnet-{subnet}").as_str().into(),
            address: address(at),
            public_address: public.map(address),
            security_groups: groups.iter().map(|group| (*group).into()).collect(),
        },
    );
}

/// Adds a NAT gateway `nat-<name>` to `subnet-<subnet>`.
pub(in crate::tests) fn add_nat(
    topology: &mut Topology,
    name: &str,
    subnet: &str,
    at: &str,
    public: &str,
) {
    topology.nat_gateways.insert(
        format!("nat-{name}").as_str().into(),
        NatGateway {
            subnet: format!("subnet-{subnet}").as_str().into(),
            address: address(at),
            public_address: address(public),
        },
    );
}

/// Adds a security group.
pub(in crate::tests) fn add_group(
    topology: &mut Topology,
    name: &str,
    ingress: &[GroupRule],
    egress: &[GroupRule],
) {
    topology.security_groups.insert(
        name.into(),
        SecurityGroup {
            ingress: ingress.iter().cloned().collect(),
            egress: egress.iter().cloned().collect(),
        },
    );
}

/// One port.
pub(in crate::tests) fn only(port: u16) -> PortRange {
    PortRange {
        from: port,
        to: port,
    }
}

pub(in crate::tests) fn tcp(port: u16, cidr: &str) -> GroupRule {
    GroupRule {
        traffic: Traffic::Tcp(only(port)),
        peer: GroupRulePeer::Cidr(network(cidr)),
    }
}

pub(in crate::tests) fn tcp_group(port: u16, group: &str) -> GroupRule {
    GroupRule {
        traffic: Traffic::Tcp(only(port)),
        peer: GroupRulePeer::Group(group.into()),
    }
}

pub(in crate::tests) fn everything() -> GroupRule {
    GroupRule {
        traffic: Traffic::All,
        peer: GroupRulePeer::Cidr(network("0.0.0.0/0")),
    }
}

pub(in crate::tests) fn entry(allow: bool, traffic: Traffic, cidr: &str) -> LoweredAclEntry {
    LoweredAclEntry {
        allow,
        traffic,
        cidr: network(cidr),
    }
}

/// The network of a service over two zones: balancer nodes, NAT gateways and a bastion in public
/// subnets, instances in private ones, an endpoint for S3.
///
/// `public` is added to the last byte of each public address.
pub(in crate::tests) fn two_zones(stack: &str, public: u8) -> Topology {
    let mut topology = internet();
    let id = |kind: &str, name: &str| format!("{kind}-{stack}-{name}");
    let outside = |byte: u8| format!("203.0.113.{}", byte + public);
    topology.vpcs.insert(
        format!("vpc-{stack}").as_str().into(),
        Vpc {
            cidr: network("10.0.0.0/16"),
            internet_gateway: true,
        },
    );
    let anywhere = network("0.0.0.0/0");
    let table = |routes: &[(Ipv4Net, NextHop)]| RouteTable {
        routes: routes.iter().cloned().collect(),
    };
    let tables = &mut topology.route_tables;
    tables.insert(
        id("rtb", "public").as_str().into(),
        table(&[(anywhere, NextHop::InternetGateway)]),
    );
    let (lb, web, bastion) = (id("sg", "lb"), id("sg", "web"), id("sg", "bastion"));
    for zone in 0..2_u8 {
        let routes = [
            (
                anywhere,
                NextHop::NatGateway(id("nat", &zone.to_string()).as_str().into()),
            ),
            (network("198.51.100.0/24"), NextHop::GatewayEndpoint),
        ];
        let private = id("rtb", &format!("private-{zone}"));
        topology
            .route_tables
            .insert(private.as_str().into(), table(&routes));
        let public_subnet = format!("{stack}-public-{zone}");
        let private_subnet = format!("{stack}-private-{zone}");
        let in_public = |host: u8| format!("10.0.{zone}.{host}");
        let in_private = |host: u8| format!("10.0.{}.{host}", 10 + zone);
        let public_table = id("rtb", "public");
        for (subnet, cidr, table, acl) in [
            (&public_subnet, in_public(0), &public_table, "public"),
            (&private_subnet, in_private(0), &private, "private"),
        ] {
            add_subnet(
                &mut topology,
                subnet,
                stack,
                &format!("{cidr}/24"),
                Some(table),
            );
            let subnet = format!("subnet-{subnet}").as_str().into();
            topology.subnets.get_mut(&subnet).unwrap().network_acl =
                Some(id("acl", acl).as_str().into());
        }
        let nat = format!("{stack}-{zone}");
        add_nat(
            &mut topology,
            &nat,
            &public_subnet,
            &in_public(5),
            &outside(10 + zone),
        );
        let node = format!("{stack}-lb-{zone}");
        let elastic = outside(20 + zone);
        add_interface(
            &mut topology,
            &node,
            &public_subnet,
            &in_public(6),
            Some(&elastic),
            &[&lb],
        );
        let name = format!("{stack}-web-{zone}");
        add_interface(
            &mut topology,
            &name,
            &private_subnet,
            &in_private(6),
            None,
            &[&web],
        );
        if zone == 0 {
            let (name, at) = (format!("{stack}-bastion"), in_public(7));
            let elastic = outside(30);
            add_interface(
                &mut topology,
                &name,
                &public_subnet,
                &at,
                Some(&elastic),
                &[&bastion],
            );
        }
    }
    add_group(
        &mut topology,
        &lb,
        &[tcp(80, "0.0.0.0/0")],
        &[tcp_group(8000, &web)],
    );
    let from = [tcp_group(8000, &lb), tcp_group(22, &bastion)];
    add_group(&mut topology, &web, &from, &[tcp(443, "0.0.0.0/0")]);
    add_group(
        &mut topology,
        &bastion,
        &[tcp(22, "203.0.113.0/24")],
        &[tcp_group(22, &web)],
    );
    let ports = |port| Traffic::Tcp(only(port));
    let answers = || {
        Traffic::Tcp(PortRange {
            from: 1024,
            to: u16::MAX,
        })
    };
    let public_acl = NetworkAcl {
        inbound: [
            (100, entry(true, ports(80), "0.0.0.0/0")),
            (110, entry(true, ports(22), "0.0.0.0/0")),
            (120, entry(true, ports(443), "10.0.0.0/16")),
            (130, entry(true, answers(), "0.0.0.0/0")),
        ]
        .into(),
        outbound: [
            (100, entry(true, ports(443), "0.0.0.0/0")),
            (110, entry(true, ports(22), "10.0.0.0/16")),
            (120, entry(true, answers(), "0.0.0.0/0")),
        ]
        .into(),
    };
    let private_acl = NetworkAcl {
        inbound: [
            (100, entry(true, ports(8000), "10.0.0.0/16")),
            (110, entry(true, ports(22), "10.0.0.0/16")),
            (120, entry(true, answers(), "0.0.0.0/0")),
        ]
        .into(),
        outbound: [
            (100, entry(true, ports(443), "0.0.0.0/0")),
            (110, entry(true, answers(), "10.0.0.0/16")),
        ]
        .into(),
    };
    for (name, acl) in [("public", public_acl), ("private", private_acl)] {
        topology
            .network_acls
            .insert(id("acl", name).as_str().into(), acl);
    }
    topology
}

/// Adds what another topology has.
pub(in crate::tests) fn merge(topology: &mut Topology, other: Topology) {
    topology.vpcs.extend(other.vpcs);
    topology.subnets.extend(other.subnets);
    topology.route_tables.extend(other.route_tables);
    topology.network_acls.extend(other.network_acls);
    topology.security_groups.extend(other.security_groups);
    topology.nat_gateways.extend(other.nat_gateways);
    topology.interfaces.extend(other.interfaces);
}
