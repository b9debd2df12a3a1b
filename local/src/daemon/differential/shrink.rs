//! Takes away from a case what does not matter, and writes the rest down.

use std::time::{Duration, Instant};

use landfall_network::Direction;
use landfall_provider::Input;

use super::world::{Case, Flow, Sender, TestTopology};
use super::{Disagreement, Tried, disagreements, verdicts};

/// How long it is worth while to look for a smaller case.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The smallest world that is found in which packets still do otherwise than was said.
pub(super) fn shrunk(
    world: &TestTopology,
    flow: &Flow,
    found: &Disagreement,
) -> (TestTopology, Disagreement) {
    let started = Instant::now();
    let (mut world, mut found) = (world.clone(), found.clone());
    let mut progress = true;
    while progress && started.elapsed() < WAIT_TIMEOUT {
        progress = false;
        // From the back, so that places stay what they are.
        for place in (0..smaller(&world, flow).len()).rev() {
            let Some(candidate) = smaller(&world, flow).into_iter().nth(place) else {
                continue;
            };
            if started.elapsed() > WAIT_TIMEOUT {
                break;
            }
            if let Some(still) = shows(&candidate, flow) {
                (world, found) = (candidate, still);
                progress = true;
            }
        }
    }
    (world, found)
}

/// A disagreement as text: what was said, what packets did, and what to put into `cases/`.
pub(super) fn reported(world: &TestTopology, flow: &Flow, found: &Disagreement) -> String {
    let case = Case {
        world: world.clone(),
        flow: flow.clone(),
    };
    let said = match &found.verdict.block {
        Some(block) => format!("{:?}: {block} ({:?})", found.verdict.reach, block.leg),
        None => format!("{:?}", found.verdict.reach),
    };
    format!(
        "{}\n  verdict: {said}\n  so a packet from port {} {}, and it did otherwise: {:?}\n{}",
        found.verdict.flow,
        found.trial.source_port,
        found.trial.expected,
        found.fate,
        serde_json::to_string(&case).expect("a case goes into JSON"),
    )
}

fn shows(world: &TestTopology, flow: &Flow) -> Option<Disagreement> {
    let flows = std::slice::from_ref(flow);
    disagreements(world, flows, &verdicts(world, flows), &mut Tried::default()).pop()
}

/// Every world with one thing less that the flow does not name.
fn smaller(world: &TestTopology, flow: &Flow) -> Vec<TestTopology> {
    let mut all = Vec::new();
    let mut without = |change: &dyn Fn(&mut TestTopology)| {
        let mut smaller = world.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    for (id, host) in &world.instances {
        if flow.from != Sender::Instance(id.clone()) {
            without(&|world| drop(world.instances.remove(id)));
        }
        if host.public_address.is_some() {
            without(&|world| world.instances.get_mut(id).unwrap().public_address = None);
        }
        for (place, _) in host.groups.iter().enumerate().skip(1) {
            without(&|world| drop(world.instances.get_mut(id).unwrap().groups.remove(place)));
        }
    }
    if world.balancer.is_some() && !matches!(flow.from, Sender::Node(_)) {
        without(&|world| world.balancer = None);
    }
    if world.endpoint.is_some() {
        without(&|world| world.endpoint = None);
    }
    for id in world.nat_gateways.keys() {
        without(&|world| drop(world.nat_gateways.remove(id)));
    }
    for (id, table) in &world.route_tables {
        without(&|world| {
            world.route_tables.remove(id);
            if let Some(tables) = &mut world.endpoint {
                tables.retain(|other| other != id);
            }
        });
        for (place, _) in table.routes.iter().enumerate() {
            without(&|world| drop(world.route_tables.get_mut(id).unwrap().routes.remove(place)));
        }
    }
    for (id, acl) in &world.network_acls {
        without(&|world| drop(world.network_acls.remove(id)));
        for (place, _) in acl.entries.iter().enumerate() {
            without(&|world| {
                let acl = world.network_acls.get_mut(id).unwrap();
                acl.entries.remove(place);
            });
        }
        for direction in [Direction::Ingress, Direction::Egress] {
            without(&|world| {
                let acl = world.network_acls.get_mut(id).unwrap();
                acl.entries.retain(|entry| entry.direction != direction);
            });
        }
    }
    for (id, rules) in &world.groups {
        for (place, _) in rules.iter().enumerate() {
            without(&|world| drop(world.groups.get_mut(id).unwrap().remove(place)));
        }
        if !world.names(id) {
            without(&|world| drop(world.groups.remove(id)));
        }
    }
    for id in world.subnets.keys() {
        let gateways = world.nat_gateways.values();
        let nodes = world.balancer.iter().flat_map(|it| &it.nodes);
        let hosts = world.instances.values().map(|host| &host.subnet);
        let mut used = gateways.chain(nodes).map(|it| &it.subnet).chain(hosts);
        if !used.any(|other| other == id) {
            without(&|world| {
                world.subnets.remove(id);
                let gone = |other: &Input<_>| other.known() != Some(id);
                for table in world.route_tables.values_mut() {
                    table.subnets.retain(gone);
                }
                for acl in world.network_acls.values_mut() {
                    acl.subnets.retain(gone);
                }
            });
        }
    }
    all.retain(|smaller| smaller != world);
    all
}
