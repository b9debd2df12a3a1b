//! What the trace says of balancers is what clients see: a few stacks by hand, beside the listeners that are drawn in
//! `listeners` and the networks of `src/daemon/differential`, whose balancers have no proxy.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_compute::AutoscalingGroup;
use landfall_lb::{Action, Listener, ListenerRule, LoadBalancer, TargetGroup};
use landfall_local::{Reached, Vantage};
use landfall_network::reach::{
    self, Address, Code, End, Flow, Interface, Reach, Role, Specs, Verdict, assemble, stand_in,
    trace,
};
use landfall_provider::{Port, Stack};
use landfall_testkit::http;

use crate::bed::{Bed, Shape};

const MOMENT: Duration = Duration::from_millis(300);

/// What the trace says of a port of the stack's balancer, asked from the internet.
pub(crate) fn said(stack: &Stack, port: u16) -> Verdict {
    let (mut topology, names) = assemble(stack, stand_in).unwrap();
    let interface = |subnet, groups, public, role| Interface {
        subnet,
        address: Address::Pending,
        public,
        groups,
        role,
    };
    let balancer = stack.all::<LoadBalancer>().unwrap().remove(0);
    let mut spec = reach::Balancer::default();
    for subnet in names.keys(&balancer.spec.subnets) {
        let name = format!("node/{}", subnet.name);
        let groups = names.keys(&balancer.spec.groups);
        let role = Role::Node(balancer.key.clone());
        let node = interface(subnet, groups, Some(Address::Pending), role);
        topology.interfaces.insert(name.clone(), node);
        spec.nodes.insert(name);
    }
    for listener in stack.all::<Listener>().unwrap() {
        let Action::Forward(group) = &listener.spec.action else {
            continue;
        };
        let rules = stack.all::<ListenerRule>().unwrap().into_iter();
        let own = rules.filter(|rule| names.key(&rule.spec.listener) == listener.key);
        let listener_spec = reach::Listener {
            port: listener.spec.port.get(),
            default: names.key(group),
            rules: own
                .map(|rule| (rule.key, names.key(&rule.spec.target_group)))
                .collect(),
        };
        spec.listeners.insert(listener.key, listener_spec);
    }
    topology.balancers.insert(balancer.key.clone(), spec);
    let scaling = stack.all::<AutoscalingGroup>().unwrap().remove(0).spec;
    let template = stack
        .all::<landfall_compute::LaunchTemplate>()
        .unwrap()
        .remove(0);
    let mut targets = BTreeSet::new();
    let subnets = names.keys(&scaling.subnets).into_iter();
    for subnet in subnets.take(scaling.desired as usize) {
        let name = format!("web/{}", subnet.name);
        let groups = names.keys(&template.spec.groups);
        let instance = interface(subnet, groups, None, Role::Other);
        topology.interfaces.insert(name.clone(), instance);
        targets.insert(name);
    }
    let attached = names.keys(&scaling.target_groups);
    for group in stack.all::<TargetGroup>().unwrap() {
        let is_attached = attached.contains(&group.key);
        let spec = reach::TargetGroup {
            port: group.spec.port.get(),
            health_port: group.spec.port.get(),
            targets: targets.iter().filter(|_| is_attached).cloned().collect(),
        };
        topology.target_groups.insert(group.key, spec);
    }
    let flow = Flow::tcp(End::Internet, End::Balancer(balancer.key), port);
    trace(&topology, &flow).unwrap()
}

fn stopped_by(verdict: &Verdict) -> Option<Code> {
    verdict.block.as_ref().map(|block| block.code)
}

/// What each of the balancer's two nodes does when it is asked on a port.
async fn nodes(bed: &Bed, port: u16) -> Vec<Reached> {
    let mut seen = Vec::new();
    // The first public addresses: two gateways and two nodes have them, in any order.
    for last in 10..14 {
        let address = Ipv4Addr::new(203, 0, 113, last);
        let ask = async |port| {
            bed.local
                .reach(Vantage::Internet, address, port, MOMENT)
                .await
        };
        if ask(80).await.unwrap() == Reached::Open {
            seen.push(ask(port).await.unwrap());
        }
    }
    assert_eq!(seen.len(), 2, "the nodes");
    seen
}

#[tokio::test]
async fn a_balancer_is_reached_on_the_ports_of_its_listeners_alone() {
    let bed = Bed::new();
    let shape = Shape {
        open: &[81, 82],
        ..Shape::named("ports")
    };
    let url = bed.deploy(&shape).await;
    let mut stack = bed.stack(&shape);
    assert_eq!(said(&stack, 80).reach, Reach::All);
    assert_eq!(http::get(&url, "/whoami").unwrap().status, 200);

    let verdict = said(&stack, 81);
    assert_eq!(
        stopped_by(&verdict),
        Some(Code::Elbv2ListenerPortRestriction)
    );
    // The groups and the ACL let it in, and nobody takes it.
    assert_eq!(nodes(&bed, 81).await, [Reached::Refused, Reached::Refused]);

    let verdict = said(&stack, 83);
    assert_eq!(verdict.reach, Reach::Nothing);
    assert_eq!(stopped_by(&verdict), Some(Code::SubnetAclRestriction));
    let silent = |reached: &Reached| matches!(reached, Reached::Silent(_));
    assert!(nodes(&bed, 83).await.iter().all(silent));

    let first = stack.all::<Listener>().unwrap().remove(0).spec;
    let port = Port::new(82).unwrap();
    stack.add("other", Listener { port, ..first });
    assert!(bed.apply(&stack).await.is_complete());
    assert_eq!(said(&stack, 82).reach, Reach::All);
    assert_eq!(nodes(&bed, 82).await, [Reached::Open, Reached::Open]);
    assert_eq!(
        stopped_by(&said(&stack, 81)),
        Some(Code::Elbv2ListenersMismatch)
    );
    assert_eq!(nodes(&bed, 81).await, [Reached::Refused, Reached::Refused]);
}

#[tokio::test]
async fn a_listener_without_targets_has_nobody_to_send_to() {
    let bed = Bed::new();
    let shape = Shape {
        desired: 0,
        ..Shape::named("nobody")
    };
    let url = bed.deploy(&shape).await;
    let verdict = said(&bed.stack(&shape), 80);
    assert_eq!(stopped_by(&verdict), Some(Code::Elbv2ListenerHasNoTg));
    assert_eq!(http::get(&url, "/whoami").unwrap().status, 503);
}
