//! Every code once: its cause, the resource that it names, and its remedy.

use std::net::Ipv4Addr;

use landfall_provider::Key;

use super::support::{balancer, interface, key, tcp, two_tier};
use crate::reach::{
    Address, Block, Code, End, Flow, FlowDirection, Reach, Remedy, Rule, Target, Topology, trace,
};
use crate::{
    AclAction, AclEntry, Direction, EndpointService, NatMode, Peer, PortRange, Protocol,
    SecurityRule,
};

pub(super) fn blocked(topology: &Topology, flow: &Flow) -> Block {
    let verdict = trace(topology, flow).unwrap();
    assert_ne!(verdict.reach, Reach::All, "{flow}");
    verdict.block.unwrap()
}

/// The block, whose remedy makes the whole flow reachable.
pub(super) fn mended(topology: &Topology, flow: &Flow) -> Block {
    let block = blocked(topology, flow);
    let mut mended = topology.clone();
    block.remedy.as_ref().unwrap().apply(&mut mended);
    let verdict = trace(&mended, flow).unwrap();
    assert_eq!(verdict.reach, Reach::All, "{block}: {:#?}", verdict.block);
    block
}

pub(super) fn resource(block: &Block) -> String {
    block.at.key().map(ToString::to_string).unwrap_or_default()
}

pub(super) fn remedy(block: &Block) -> String {
    block
        .remedy
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn without_rules(
    topology: &mut Topology,
    group: &str,
    unwanted: impl Fn(&SecurityRule<Key>) -> bool,
) {
    let group = topology.security_groups.get_mut(&key(group)).unwrap();
    group.rules.retain(|rule| !unwanted(rule));
}

fn without_entries(topology: &mut Topology, acl: &str, unwanted: impl Fn(&AclEntry) -> bool) {
    let acl = topology.network_acls.get_mut(&key(acl)).unwrap();
    acl.entries.retain(|entry| !unwanted(entry));
}

fn deny(topology: &mut Topology, acl: &str, number: u16, direction: Direction, cidr: &str) {
    let entry = AclEntry {
        number,
        direction,
        action: AclAction::Deny,
        protocol: Protocol::All,
        ports: PortRange::ALL,
        cidr: cidr.parse().unwrap(),
    };
    let acl = topology.network_acls.get_mut(&key(acl)).unwrap();
    acl.entries.push(entry);
}

fn known(topology: &mut Topology, interface: &str, public: [u8; 4]) -> End {
    let interface = topology.interfaces.get_mut(interface).unwrap();
    interface.public = Some(Address::Known(Ipv4Addr::from(public)));
    End::from(Ipv4Addr::from(public))
}

#[test]
fn a_group_without_a_rule_that_applies() {
    let mut topology = two_tier(NatMode::PerZone);
    without_rules(&mut topology, "security-group/web", |rule| {
        rule.ports.contains(8000)
    });
    let block = mended(&topology, &tcp(balancer(), interface("web/1"), 8000));
    assert_eq!(block.code, Code::EniSgRulesMismatch);
    assert_eq!(resource(&block), "security-group/web");
    assert_eq!(
        remedy(&block),
        "add to security-group/web an ingress rule: TCP 8000 from security-group/balancer"
    );
    assert_eq!(
        block.to_string(),
        "ENI_SG_RULES_MISMATCH: no ingress rule of security-group/web lets main/a in to TCP 8000"
    );
}

#[test]
fn a_group_without_any_rule() {
    let mut topology = two_tier(NatMode::PerZone);
    without_rules(&mut topology, "security-group/bastion", |rule| {
        rule.direction == Direction::Egress
    });
    let block = mended(
        &topology,
        &tcp(interface("bastion"), interface("web/1"), 22),
    );
    assert_eq!(block.code, Code::SgHasNoRules);
    assert_eq!(resource(&block), "security-group/bastion");
    assert_eq!(
        remedy(&block),
        "add to security-group/bastion an egress rule: TCP 22 to security-group/web"
    );
}

#[test]
fn a_group_lets_members_in_by_their_private_address_alone() {
    let mut topology = two_tier(NatMode::PerZone);
    let rule = SecurityRule {
        direction: Direction::Ingress,
        protocol: Protocol::Tcp,
        ports: PortRange { from: 443, to: 443 },
        peer: Peer::Group(key("security-group/web")),
        description: "Services to the bastion".to_owned(),
    };
    let bastion = key("security-group/bastion");
    topology
        .security_groups
        .get_mut(&bastion)
        .unwrap()
        .rules
        .push(rule);
    for acl in topology.network_acls.values_mut() {
        acl.entries.clear();
        for direction in [Direction::Ingress, Direction::Egress] {
            acl.entries.push(AclEntry {
                number: 100,
                direction,
                action: AclAction::Allow,
                protocol: Protocol::All,
                ports: PortRange::ALL,
                cidr: "0.0.0.0/0".parse().unwrap(),
            });
        }
    }
    let public = known(&mut topology, "bastion", [203, 0, 113, 50]);
    let private = tcp(interface("web/1"), interface("bastion"), 443);
    assert_eq!(trace(&topology, &private).unwrap().reach, Reach::All);
    let block = mended(&topology, &tcp(interface("web/1"), public, 443));
    assert_eq!(block.code, Code::NgwSourceAddressReassign);
    assert_eq!(resource(&block), "security-group/bastion");
}

#[test]
fn an_acl_entry_that_denies_is_named_and_gone_around_by_number() {
    let mut topology = two_tier(NatMode::PerZone);
    deny(
        &mut topology,
        "network-acl/private",
        90,
        Direction::Ingress,
        "10.0.192.0/22",
    );
    let block = blocked(&topology, &tcp(balancer(), interface("web/1"), 8000));
    assert_eq!(block.code, Code::SubnetAclRestriction);
    assert_eq!(resource(&block), "network-acl/private");
    let rule = Rule::Entry {
        direction: Direction::Ingress,
        number: Some(90),
    };
    assert_eq!(block.rule, Some(rule));
    assert_eq!(
        remedy(&block),
        "add to network-acl/private an ingress entry 80: allow TCP 8000 from 10.0.192.0/22"
    );
    mended(&topology, &tcp(balancer(), interface("web/1"), 8000));
}

#[test]
fn an_acl_that_names_nothing_denies_with_its_last_entry() {
    let mut topology = two_tier(NatMode::PerZone);
    without_entries(&mut topology, "network-acl/public", |entry| {
        entry.ports.contains(80) && entry.ports.to == 80 && entry.direction == Direction::Ingress
    });
    let block = mended(&topology, &tcp(End::Internet, balancer(), 80));
    assert_eq!(block.code, Code::SubnetAclRestriction);
    let rule = Rule::Entry {
        direction: Direction::Ingress,
        number: None,
    };
    assert_eq!(block.rule, Some(rule));
    assert!(
        remedy(&block).ends_with("allow TCP 80 from anywhere"),
        "{}",
        remedy(&block)
    );
}

#[test]
fn answers_to_a_client_need_an_entry_of_their_own() {
    let mut topology = two_tier(NatMode::PerZone);
    without_entries(&mut topology, "network-acl/public", |entry| {
        entry.direction == Direction::Egress && entry.ports == PortRange::EPHEMERAL
    });
    let block = mended(&topology, &tcp(End::Internet, balancer(), 80));
    assert_eq!(
        (block.code, block.leg),
        (Code::SubnetAclRestriction, FlowDirection::Return)
    );
    assert!(
        remedy(&block).ends_with("allow TCP 1024-65535 to anywhere"),
        "{}",
        remedy(&block)
    );
}

#[test]
fn answers_to_a_balancer_go_to_ports_that_it_took() {
    let mut topology = two_tier(NatMode::PerZone);
    without_entries(&mut topology, "network-acl/private", |entry| {
        entry.direction == Direction::Egress && entry.ports == PortRange::EPHEMERAL
    });
    let block = blocked(&topology, &tcp(balancer(), interface("web/1"), 8000));
    assert_eq!(
        (block.code, block.leg),
        (Code::RemapEphemeralPort, FlowDirection::Return)
    );
    assert_eq!(resource(&block), "network-acl/private");
    assert!(
        remedy(&block).contains("allow TCP 1024-65535 to 10.0."),
        "{}",
        remedy(&block)
    );
}

#[test]
fn partly_open_ephemeral_ports_block_the_rest() {
    let mut topology = two_tier(NatMode::PerZone);
    let acl = topology
        .network_acls
        .get_mut(&key("network-acl/public"))
        .unwrap();
    for entry in &mut acl.entries {
        if entry.direction == Direction::Egress && entry.ports == PortRange::EPHEMERAL {
            entry.ports.from = 32768;
        }
    }
    let flow = tcp(End::Internet, balancer(), 80);
    let verdict = trace(&topology, &flow).unwrap();
    assert_eq!(verdict.reach, Reach::Part);
    let block = mended(&topology, &flow);
    assert_eq!(block.packet.ports.to_string(), "1024-32767");
    // A client with one source port gets one result.
    for (port, reach) in [(40000, Reach::All), (2000, Reach::Nothing)] {
        let from_port = Flow {
            source_ports: Some(PortRange {
                from: port,
                to: port,
            }),
            ..flow.clone()
        };
        assert_eq!(trace(&topology, &from_port).unwrap().reach, reach);
    }
}

#[test]
fn a_subnet_without_a_route_out() {
    let mut topology = two_tier(NatMode::PerZone);
    let table = topology
        .route_tables
        .get_mut(&key("route-table/private-b"))
        .unwrap();
    table.routes.clear();
    let block = mended(&topology, &tcp(interface("web/2"), End::Internet, 443));
    assert_eq!(block.code, Code::NoRouteToDestination);
    assert_eq!(resource(&block), "route-table/private-b");
    assert_eq!(
        remedy(&block),
        "route 0.0.0.0/0 in route-table/private-b to nat-gateway/b"
    );
}

#[test]
fn a_subnet_with_the_main_table_gets_one_of_its_own() {
    let mut topology = two_tier(NatMode::Single);
    topology
        .subnets
        .get_mut(&key("subnet/private-b"))
        .unwrap()
        .route_table = None;
    let block = mended(&topology, &tcp(interface("web/2"), End::Internet, 443));
    assert_eq!(block.code, Code::NoRouteToDestination);
    assert_eq!(resource(&block), "");
    // The name that it would have belongs to the table that lost it.
    assert_eq!(
        remedy(&block),
        "give subnet/private-b a table of its own, route-table/private-b-2, with a route for 0.0.0.0/0 \
         to nat-gateway/a"
    );
}

#[test]
fn without_a_nat_gateway_no_single_change_leads_out() {
    let topology = two_tier(NatMode::None);
    let block = blocked(&topology, &tcp(interface("web/1"), End::Internet, 80));
    assert!(
        matches!(
            block.code,
            Code::NoRouteToDestination | Code::SubnetAclRestriction
        ),
        "{block}"
    );
}

#[test]
fn a_route_out_that_is_for_other_addresses() {
    let mut topology = two_tier(NatMode::PerZone);
    let table = topology
        .route_tables
        .get_mut(&key("route-table/private-a"))
        .unwrap();
    let via = table.routes.remove(&"0.0.0.0/0".parse().unwrap()).unwrap();
    table.routes.insert("203.0.113.0/24".parse().unwrap(), via);
    let to = End::Addresses("192.0.2.1/32".parse().unwrap());
    let block = mended(&topology, &tcp(interface("web/1"), to, 443));
    assert_eq!(block.code, Code::CannotRoute);
    assert_eq!(
        block.rule,
        Some(Rule::Route("203.0.113.0/24".parse().unwrap()))
    );
    assert_eq!(
        remedy(&block),
        "route 192.0.2.1/32 in route-table/private-a to nat-gateway/a"
    );
}

#[test]
fn a_route_to_a_gateway_that_is_gone() {
    let mut topology = two_tier(NatMode::PerZone);
    topology.nat_gateways.remove(&key("nat-gateway/b"));
    let block = mended(&topology, &tcp(interface("web/2"), End::Internet, 443));
    assert_eq!(block.code, Code::BadStateRoute);
    assert_eq!(resource(&block), "route-table/private-b");
    assert_eq!(
        remedy(&block),
        "route 0.0.0.0/0 in route-table/private-b to nat-gateway/a"
    );
}

#[test]
fn a_dead_route_that_hides_one_that_works() {
    let mut topology = two_tier(NatMode::PerZone);
    let table = topology
        .route_tables
        .get_mut(&key("route-table/private-a"))
        .unwrap();
    let gone = Target::NatGateway(key("nat-gateway/gone"));
    table.routes.insert("203.0.113.0/24".parse().unwrap(), gone);
    let flow = tcp(interface("web/1"), End::Internet, 443);
    let verdict = trace(&topology, &flow).unwrap();
    assert_eq!(verdict.reach, Reach::Part);
    let block = mended(&topology, &flow);
    assert_eq!(block.code, Code::MoreSpecificRoute);
    assert_eq!(block.packet.destination, "203.0.113.0/24".parse().unwrap());
    assert_eq!(
        remedy(&block),
        "take the route for 203.0.113.0/24 out of route-table/private-a"
    );
}

#[test]
fn an_address_of_the_vpc_that_nothing_has() {
    let topology = two_tier(NatMode::PerZone);
    let to = End::Addresses("10.0.200.9/32".parse().unwrap());
    let block = blocked(&topology, &tcp(interface("web/1"), to, 80));
    assert_eq!(block.code, Code::NoPossibleDestination);
    assert_eq!(block.remedy, None);
}

#[test]
fn what_stands_in_a_subnet_that_is_gone_is_not_there() {
    let mut topology = two_tier(NatMode::PerZone);
    topology.subnets.remove(&key("subnet/private-a"));
    for flow in [
        tcp(balancer(), interface("web/1"), 8000),
        tcp(End::Internet, interface("web/1"), 8000),
        tcp(interface("web/1"), End::Internet, 443),
        tcp(interface("web/1"), interface("web/1"), 8000),
    ] {
        let verdict = trace(&topology, &flow).unwrap();
        assert_eq!(verdict.reach, Reach::Nothing, "{flow}");
        let block = verdict.block.unwrap();
        assert_eq!(block.code, Code::NoPossibleDestination);
        assert_eq!(block.reason, "web/1 is in no subnet of this VPC");
    }
    let verdict = trace(&topology, &tcp(End::Internet, balancer(), 80)).unwrap();
    assert_eq!(verdict.reach, Reach::Part);
}

#[test]
fn a_target_that_is_gone_is_stopped_and_not_left_out() {
    let mut topology = two_tier(NatMode::PerZone);
    topology.interfaces.remove("web/2");
    let verdict = trace(&topology, &tcp(End::Internet, balancer(), 80)).unwrap();
    assert_eq!(verdict.reach, Reach::Part);
    assert_eq!(verdict.block.unwrap().code, Code::NoPossibleDestination);
}

#[test]
fn what_cannot_be_asked_about_is_said() {
    let topology = two_tier(NatMode::PerZone);
    let asked = |from: End, to: End| {
        trace(&topology, &tcp(from, to, 80))
            .unwrap_err()
            .to_string()
    };
    let block = |text: &str| End::Addresses(text.parse().unwrap());
    assert_eq!(
        asked(End::Internet, interface("web/9")),
        "this network has no web/9; it has api/1, api/2, bastion, main/a, main/b, web/1, web/2"
    );
    assert_eq!(
        asked(block("10.0.0.0/24"), interface("web/1")),
        "10.0.0.0/24 is in the VPC, and not the address of one interface; name the interface"
    );
    assert_eq!(
        asked(block("192.168.0.0/16"), interface("web/1")),
        "192.168.0.0/16 is neither in the VPC nor public, so it cannot send packets"
    );
    let everybody = End::InternetExcept(vec!["0.0.0.0/0".parse().unwrap()]);
    assert_eq!(
        asked(everybody, interface("web/1")),
        "internet except 0.0.0.0/0 is nobody"
    );
    let backwards = Flow {
        ports: PortRange { from: 90, to: 80 },
        ..tcp(End::Internet, balancer(), 80)
    };
    assert_eq!(
        trace(&topology, &backwards).unwrap_err().to_string(),
        "ports 90-80 are none"
    );
    let all = Flow {
        protocol: Protocol::All,
        ..tcp(End::Internet, balancer(), 80)
    };
    assert_eq!(
        trace(&topology, &all).unwrap_err().to_string(),
        "a flow is TCP, UDP or ICMP"
    );
}

#[test]
fn everywhere_as_a_destination_is_the_internet() {
    let topology = two_tier(NatMode::PerZone);
    let everywhere = End::Addresses("0.0.0.0/0".parse().unwrap());
    let verdict = trace(&topology, &tcp(interface("web/1"), everywhere, 443)).unwrap();
    assert_eq!(verdict.reach, Reach::All, "{:#?}", verdict.block);
    let elsewhere = End::Addresses("172.16.0.1/32".parse().unwrap());
    let block = blocked(&topology, &tcp(interface("web/1"), elsewhere, 443));
    assert_eq!(block.code, Code::NoPossibleDestination);
}

#[test]
fn private_address_cannot_use_the_internet_gateway() {
    let mut topology = two_tier(NatMode::PerZone);
    topology.interfaces.get_mut("web/1").unwrap().subnet = key("subnet/public-a");
    let block = mended(&topology, &tcp(interface("web/1"), End::Internet, 443));
    assert_eq!(block.code, Code::IgwPublicIpAssociationForEgress);
    assert_eq!(resource(&block), "internet-gateway/main");
    assert_eq!(
        block.remedy,
        Some(Remedy::AddPublicAddress {
            interface: "web/1".to_owned()
        })
    );
}

#[test]
fn what_has_no_public_address_is_not_reached_from_outside() {
    let topology = two_tier(NatMode::PerZone);
    let block = blocked(&topology, &tcp(End::Internet, interface("web/1"), 8000));
    assert_eq!(block.code, Code::IgwPrivateIpAssociationForIngress);
    assert_eq!(resource(&block), "internet-gateway/main");
}

#[test]
fn a_private_address_means_nothing_outside() {
    let mut topology = two_tier(NatMode::PerZone);
    let private = Ipv4Addr::new(10, 0, 0, 9);
    topology.interfaces.get_mut("bastion").unwrap().address = Address::Known(private);
    let from = || End::from(Ipv4Addr::new(203, 0, 113, 7));
    let by_name = tcp(from(), interface("bastion"), 22);
    assert_eq!(trace(&topology, &by_name).unwrap().reach, Reach::All);
    let block = blocked(&topology, &tcp(from(), End::from(private), 22));
    assert_eq!(block.code, Code::IgwPrivateIpAssociationForIngress);
}

#[test]
fn without_an_internet_gateway_nothing_is_reached_from_outside() {
    let mut topology = two_tier(NatMode::PerZone);
    topology.internet_gateway = None;
    let block = mended(&topology, &tcp(End::Internet, balancer(), 80));
    assert_eq!(block.code, Code::IgwPrivateIpAssociationForIngress);
    assert_eq!(
        remedy(&block),
        "attach an internet gateway, internet-gateway/main, to the VPC"
    );
}

#[test]
fn nobody_comes_in_by_a_nat_gateway() {
    let topology = two_tier(NatMode::PerZone);
    let to = End::NatGateway(key("nat-gateway/a"));
    let block = blocked(&topology, &tcp(End::Internet, to, 443));
    assert_eq!(block.code, Code::NgwRequiresSourceInVpc);
    assert_eq!(resource(&block), "nat-gateway/a");
}

#[test]
fn an_endpoint_does_not_carry_udp() {
    let mut topology = two_tier(NatMode::PerZone);
    for rules in topology.security_groups.values_mut() {
        rules
            .rules
            .iter_mut()
            .for_each(|rule| rule.protocol = Protocol::All);
    }
    for acl in topology.network_acls.values_mut() {
        acl.entries
            .iter_mut()
            .for_each(|entry| entry.protocol = Protocol::All);
    }
    let flow = Flow {
        protocol: Protocol::Udp,
        ..tcp(interface("web/1"), End::Service(EndpointService::S3), 443)
    };
    let block = blocked(&topology, &flow);
    assert_eq!(block.code, Code::VpceGatewayProtocolRestriction);
    assert_eq!(resource(&block), "gateway-endpoint/s3");
}
