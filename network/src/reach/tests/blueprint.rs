//! The guarantees of the blueprint, checked against the blueprint.

use super::support::{balancer, interface, tcp, two_tier};
use crate::reach::{Checked, End, FlowError, Reach, check, invariants, trace};
use crate::{EndpointService, NatMode};

#[test]
fn the_blueprint_lets_through_what_it_is_for() {
    let topology = two_tier(NatMode::PerZone);
    let operator = End::Addresses("203.0.113.7/32".parse().unwrap());
    for flow in [
        tcp(End::Internet, balancer(), 80),
        tcp(balancer(), interface("web/1"), 8000),
        tcp(balancer(), interface("api/2"), 9000),
        tcp(interface("web/1"), End::Internet, 443),
        tcp(interface("web/2"), End::Service(EndpointService::S3), 443),
        tcp(operator, interface("bastion"), 22),
        tcp(interface("bastion"), interface("web/2"), 22),
    ] {
        let verdict = trace(&topology, &flow).unwrap();
        assert_eq!(verdict.reach, Reach::All, "{flow}: {:#?}", verdict.block);
        assert!(!verdict.hops.is_empty(), "{flow}");
    }
}

#[test]
fn the_blueprint_lets_nothing_else_through() {
    let topology = two_tier(NatMode::PerZone);
    for flow in [
        tcp(End::Internet, interface("web/1"), 8000),
        tcp(End::Internet, balancer(), 443),
        tcp(interface("web/1"), interface("api/1"), 9000),
        tcp(interface("web/1"), interface("web/2"), 8000),
        tcp(interface("web/1"), End::Internet, 25),
        tcp(interface("web/1"), interface("bastion"), 22),
        tcp(balancer(), interface("web/1"), 22),
    ] {
        let verdict = trace(&topology, &flow).unwrap();
        assert_eq!(verdict.reach, Reach::Nothing, "{flow}");
        assert!(verdict.block.is_some(), "{flow}");
    }
}

#[test]
fn the_invariants_hold_in_every_nat_mode() {
    for nat in [NatMode::PerZone, NatMode::Single, NatMode::None] {
        let topology = two_tier(nat);
        let expectations = invariants(&topology, &["203.0.113.7/32".parse().unwrap()]);
        assert!(expectations.len() > 20, "{}", expectations.len());
        let checked = check(&topology, &expectations);
        assert_eq!(checked, Checked::default(), "{nat:?}");
    }
}

#[test]
fn what_cannot_be_asked_hides_nothing_that_is_broken() {
    let mut topology = two_tier(NatMode::PerZone);
    topology
        .security_groups
        .values_mut()
        .for_each(|group| group.rules.clear());
    let nobody = "192.168.1.10/32".parse().unwrap();
    let expectations = invariants(&topology, &[nobody]);
    let checked = check(&topology, &expectations);
    let undetermined: Vec<_> = checked
        .undetermined
        .iter()
        .map(|(_, error)| error)
        .collect();
    assert_eq!(undetermined, [&FlowError::Nowhere(nobody)]);
    assert!(checked.broken.len() > 10, "{}", checked.broken.len());
}
