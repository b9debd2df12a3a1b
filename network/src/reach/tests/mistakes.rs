//! Common mistakes of manual deployments: one layer allows a port and another does not.

use super::support::{balancer, interface, key, tcp, two_tier};
use crate::reach::{
    Code, End, FailedExpectation, Flow, HopLocation, Reach, Role, Topology, check, invariants,
    trace,
};
use crate::{AclAction, AclEntry, Direction, EndpointService, NatMode, Peer, PortRange, Protocol};

/// The blueprint with ACLs that allow everything, like a VPC's default ACL.
fn open_acls() -> Topology {
    let mut topology = two_tier(NatMode::PerZone);
    for acl in topology.network_acls.values_mut() {
        acl.entries = [Direction::Ingress, Direction::Egress]
            .map(|direction| AclEntry {
                number: 100,
                direction,
                action: AclAction::Allow,
                protocol: Protocol::All,
                ports: PortRange::ALL,
                cidr: "0.0.0.0/0".parse().unwrap(),
            })
            .to_vec();
    }
    topology
}

fn close(topology: &mut Topology, group: &str, port: u16) {
    let group = topology.security_groups.get_mut(&key(group)).unwrap();
    group
        .rules
        .retain(|rule| rule.direction == Direction::Egress || !rule.ports.contains(port));
}

fn broken(topology: &Topology) -> Vec<FailedExpectation> {
    let operators = ["203.0.113.7/32".parse().unwrap()];
    let checked = check(topology, &invariants(topology, &operators));
    assert_eq!(checked.undetermined, []);
    checked.broken
}

/// The flow is blocked at this group, and the suggested change is all that was missing.
fn mend(topology: &Topology, flow: &Flow, code: Code, group: &str, expected: &str) {
    let block = trace(topology, flow).unwrap().block.unwrap();
    assert_eq!(block.code, code);
    assert_eq!(block.at.key().unwrap().to_string(), group);
    let remedy = block.remedy.unwrap();
    assert_eq!(remedy.to_string(), expected);
    let mut mended = topology.clone();
    remedy.apply(&mut mended);
    assert_eq!(trace(&mended, flow).unwrap().reach, Reach::All);
    assert_eq!(broken(&mended), []);
}

#[test]
fn acl_allows_and_security_group_denies() {
    // Before there was a balancer: one instance with a public address, on port 5000.
    let mut topology = open_acls();
    let mut instance = topology.interfaces["bastion"].clone();
    instance.groups = [key("security-group/web")].into();
    instance.role = Role::Other;
    topology.interfaces.insert("single".to_owned(), instance);
    let flow = tcp(End::Internet, interface("single"), 5000);
    mend(
        &topology,
        &flow,
        Code::EniSgRulesMismatch,
        "security-group/web",
        "add to security-group/web an ingress rule: TCP 5000 from anywhere",
    );
}

#[test]
fn the_balancer_may_ask_and_the_instances_group_lets_nobody_in() {
    let mut topology = open_acls();
    close(&mut topology, "security-group/web", 8000);
    let found = broken(&topology);
    let codes: Vec<Code> = found
        .iter()
        .map(|it| it.verdict.block.as_ref().unwrap().code)
        .collect();
    // Two targets, and the path from the internet to each.
    assert_eq!(codes, [Code::EniSgRulesMismatch; 3]);
    mend(
        &topology,
        &tcp(balancer(), interface("web/1"), 8000),
        Code::EniSgRulesMismatch,
        "security-group/web",
        "add to security-group/web an ingress rule: TCP 8000 from security-group/balancer",
    );
}

#[test]
fn balancer_group_blocks_clients() {
    let mut topology = open_acls();
    close(&mut topology, "security-group/balancer", 80);
    let found = broken(&topology);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].expectation.because, "clients reach every listener");
    mend(
        &topology,
        &tcp(End::Internet, balancer(), 80),
        Code::SgHasNoRules,
        "security-group/balancer",
        "add to security-group/balancer an ingress rule: TCP 80 from anywhere",
    );
}

#[test]
fn a_group_that_is_too_open_is_a_mistake_too() {
    let mut topology = open_acls();
    let web = topology
        .security_groups
        .get_mut(&key("security-group/web"))
        .unwrap();
    for rule in &mut web.rules {
        if rule.ports.contains(8000) {
            rule.peer = Peer::Cidr("10.0.0.0/16".parse().unwrap());
        }
    }
    // No rule lets another service out to the port, so its traffic does not arrive yet.
    assert_eq!(broken(&topology), []);
    let api = topology
        .security_groups
        .get_mut(&key("security-group/api"))
        .unwrap();
    for rule in &mut api.rules {
        if rule.direction == Direction::Egress {
            rule.ports = PortRange::ALL;
        }
    }
    let found = broken(&topology);
    assert_eq!(found.len(), 4, "each instance of one to each of the other");
    for broken in found {
        assert!(!broken.expectation.reachable);
        assert_eq!(broken.verdict.reach, Reach::All);
        assert_eq!(broken.verdict.block, None);
    }
}

#[test]
fn of_what_should_not_arrive_the_ports_are_named_that_do() {
    let mut topology = open_acls();
    let bastion = topology
        .security_groups
        .get_mut(&key("security-group/bastion"))
        .unwrap();
    let mut rule = bastion.rules[0].clone();
    rule.direction = Direction::Ingress;
    rule.ports = PortRange {
        from: 5000,
        to: 5001,
    };
    rule.peer = Peer::Cidr("0.0.0.0/0".parse().unwrap());
    bastion.rules.push(rule);
    let found = broken(&topology);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].verdict.reach, Reach::All);
    assert_eq!(
        found[0].verdict.flow.to_string(),
        "internet except 203.0.113.7/32 → bastion:5000-5001"
    );
}

#[test]
fn a_service_that_has_an_endpoint_is_not_reached_over_nat() {
    let mut topology = open_acls();
    let endpoint = topology
        .endpoints
        .get_mut(&key("gateway-endpoint/s3"))
        .unwrap();
    endpoint.route_tables.remove(&key("route-table/private-b"));
    let found = broken(&topology);
    let flows: Vec<String> = found.iter().map(|it| it.verdict.flow.to_string()).collect();
    assert_eq!(flows, ["api/2 → s3:443", "web/2 → s3:443"]);
    assert_eq!(found[0].verdict.reach, Reach::All);
}

#[test]
fn a_nat_gateway_follows_its_subnets_route_to_an_endpoint() {
    let mut topology = open_acls();
    let endpoint = topology
        .endpoints
        .get_mut(&key("gateway-endpoint/s3"))
        .unwrap();
    endpoint.route_tables = [key("route-table/public")].into();
    let flow = tcp(interface("web/1"), End::Service(EndpointService::S3), 443);
    let verdict = trace(&topology, &flow).unwrap();
    assert_eq!(verdict.reach, Reach::All, "{:?}", verdict.block);
    let endpoint = HopLocation::Endpoint(key("gateway-endpoint/s3"));
    assert!(verdict.hops.iter().any(|hop| hop.at == endpoint));
}
