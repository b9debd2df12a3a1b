//! The codes of listeners and targets: each with its resource and its remedy.

use super::codes::{blocked, mended, remedy, resource};
use super::support::{balancer, interface, key, tcp, two_tier};
use crate::reach::{Code, End, Reach, trace};
use crate::{NatMode, PortRange};

#[test]
fn a_balancer_is_asked_on_a_port_without_a_listener() {
    let mut topology = two_tier(NatMode::PerZone);
    let group = topology
        .security_groups
        .get_mut(&key("security-group/balancer"))
        .unwrap();
    for rule in &mut group.rules {
        rule.ports = PortRange::ALL;
    }
    let acl = topology
        .network_acls
        .get_mut(&key("network-acl/public"))
        .unwrap();
    acl.entries[0].ports = PortRange::ALL;
    let flow = tcp(End::Internet, balancer(), 443);
    let block = blocked(&topology, &flow);
    assert_eq!(block.code, Code::Elbv2ListenerPortRestriction);
    assert_eq!(resource(&block), "listener/http");
    assert_eq!(
        block.reason,
        "listener/http is on port 80, and the connection is to port 443"
    );
    let balancer = topology
        .balancers
        .get_mut(&key("load-balancer/main"))
        .unwrap();
    balancer.listeners.clear();
    let block = blocked(&topology, &flow);
    assert_eq!(block.code, Code::Elbv2ListenersMismatch);
    assert_eq!(resource(&block), "load-balancer/main");
}

#[test]
fn a_listener_whose_target_group_is_empty() {
    let mut topology = two_tier(NatMode::PerZone);
    let group = topology
        .target_groups
        .get_mut(&key("target-group/api"))
        .unwrap();
    group.targets.clear();
    let flow = tcp(End::Internet, balancer(), 80);
    let block = blocked(&topology, &flow);
    assert_eq!(block.code, Code::Elbv2ListenerHasNoTg);
    assert_eq!(resource(&block), "listener/http");
    // Requests that match no rule are still answered.
    assert_eq!(trace(&topology, &flow).unwrap().reach, Reach::Part);
}

#[test]
fn a_balancer_asks_its_targets_on_their_ports() {
    let mut topology = two_tier(NatMode::PerZone);
    let block = blocked(&topology, &tcp(balancer(), interface("web/1"), 9000));
    assert_eq!(block.code, Code::TargetPortRestriction);
    assert_eq!(
        block.reason,
        "load-balancer/main connects to web/1 on port 8000, not on 9000"
    );
    let group = topology
        .target_groups
        .get_mut(&key("target-group/web"))
        .unwrap();
    group.targets.remove("web/1");
    let block = mended(&topology, &tcp(balancer(), interface("web/1"), 8000));
    assert_eq!(block.code, Code::TargetAddressRestriction);
    assert_eq!(remedy(&block), "put web/1 into target-group/web");
}
