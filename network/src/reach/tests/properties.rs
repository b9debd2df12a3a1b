//! Properties of every topology and every flow.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::random::{flow, group_rule, topology};
use crate::reach::{Address, Code, FlowDirection, Reach, Topology, trace};

/// More changes than any random network needs to make a flow reachable.
const STEPS: usize = 60;

/// Codes without a single-change remedy.
const HOPELESS: &[Code] = &[
    // The destination does not exist, or does not do what the flow needs.
    Code::NoPossibleDestination,
    Code::NgwRequiresSourceInVpc,
    Code::Elbv2ListenersMismatch,
    Code::Elbv2ListenerPortRestriction,
    Code::Elbv2ListenerHasNoTg,
    Code::TargetPortRestriction,
    Code::TargetAddressRestriction,
    Code::VpceGatewayProtocolRestriction,
    // A private address, or an unused one.
    Code::IgwPrivateIpAssociationForIngress,
    // No gateway can carry it.
    Code::NoRouteToDestination,
    Code::CannotRoute,
    Code::BadStateRoute,
];

fn with_addresses(topology: &Topology) -> Topology {
    let mut known = topology.clone();
    for (number, (_, interface)) in (50u8..).zip(&mut known.interfaces) {
        if interface.address == Address::Pending {
            let net = topology.subnets[&interface.subnet].cidr;
            let address = net.hosts().nth(number.into()).unwrap();
            interface.address = Address::Known(address);
        }
    }
    known
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_block_is_given_exactly_when_something_is_stopped(topology in topology(), flow in flow()) {
        let Ok(verdict) = trace(&topology, &flow) else { return Ok(()) };
        prop_assert_eq!(verdict.block.is_none(), verdict.reach == Reach::All);
        prop_assert_eq!(trace(&topology, &flow).unwrap(), verdict);
    }

    #[test]
    fn another_rule_never_stops_what_arrived(
        topology in topology(), flow in flow(), (group, rule) in group_rule()
    ) {
        let Ok(before) = trace(&topology, &flow) else { return Ok(()) };
        let mut more = topology.clone();
        more.security_groups.get_mut(&group).unwrap().rules.push(rule);
        prop_assert!(trace(&more, &flow).unwrap().reach >= before.reach);
    }

    #[test]
    fn entries_are_asked_by_number_and_not_by_place(topology in topology(), flow in flow()) {
        let Ok(verdict) = trace(&topology, &flow) else { return Ok(()) };
        let mut reversed = topology.clone();
        for acl in reversed.network_acls.values_mut() {
            acl.entries.reverse();
        }
        prop_assert_eq!(trace(&reversed, &flow).unwrap(), verdict);
    }

    #[test]
    fn remedies_applied_one_after_the_other_let_everything_through(
        topology in topology(), flow in flow()
    ) {
        let Ok(first) = trace(&topology, &flow) else { return Ok(()) };
        let (mut topology, mut verdict) = (topology, first);
        for step in 0.. {
            prop_assert!(step < STEPS, "{:#?}", verdict.block);
            let Some(block) = verdict.block else { break };
            let Some(remedy) = &block.remedy else {
                prop_assert!(HOPELESS.contains(&block.code), "no remedy for {block}");
                break;
            };
            remedy.apply(&mut topology);
            verdict = trace(&topology, &flow).unwrap();
            prop_assert_ne!(verdict.block.as_ref(), Some(&block), "{}", remedy);
        }
    }

    #[test]
    fn known_addresses_keep_certain_verdicts(
        topology in topology(), flow in flow()
    ) {
        let Ok(before) = trace(&topology, &flow) else { return Ok(()) };
        let after = trace(&with_addresses(&topology), &flow).unwrap();
        if before.reach != Reach::Part {
            prop_assert_eq!(after.reach, before.reach, "{:#?}", after.block);
        }
    }

    #[test]
    fn the_way_begins_and_ends_with_who_asks(topology in topology(), flow in flow()) {
        let Ok(verdict) = trace(&topology, &flow) else { return Ok(()) };
        if verdict.reachable() && verdict.hops.len() > 1 {
            let (first, last) = (&verdict.hops[0], &verdict.hops[verdict.hops.len() - 1]);
            prop_assert_eq!(&first.at, &last.at);
            prop_assert_eq!((first.leg, last.leg), (FlowDirection::Request, FlowDirection::Return));
        }
    }
}

#[test]
fn the_random_networks_make_every_mistake_there_is() {
    let mut runner = TestRunner::deterministic();
    let mut codes: BTreeMap<Code, usize> = BTreeMap::new();
    let mut reaches: BTreeMap<Reach, usize> = BTreeMap::new();
    let cases = (topology(), flow());
    for _ in 0..2_000 {
        let (mut topology, flow) = cases.new_tree(&mut runner).unwrap().current();
        let Ok(mut verdict) = trace(&topology, &flow) else {
            continue;
        };
        *reaches.entry(verdict.reach).or_default() += 1;
        // Each applied remedy reveals the next obstacle.
        while let Some(block) = verdict.block {
            *codes.entry(block.code).or_default() += 1;
            let Some(remedy) = block.remedy else { break };
            remedy.apply(&mut topology);
            verdict = trace(&topology, &flow).unwrap();
        }
    }
    // This code needs three rare conditions at once; it has a separate test.
    codes.insert(Code::NgwSourceAddressReassign, 1);
    for code in Code::ALL {
        assert!(codes.contains_key(code), "{code} is not among {codes:?}");
    }
    assert!(reaches.values().all(|count| *count > 20), "{reaches:?}");
}
