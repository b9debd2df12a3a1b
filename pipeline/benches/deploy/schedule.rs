//! When each resource of a plan would be made in a given order, if no time were lost: a pure function of the plan
//! and of how long things take.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_provider::{Action, Gate, Key, Plan, kind};
use serde::Serialize;

/// When a resource is made, since the plan was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Moments {
    /// The call that makes it.
    pub(crate) start: Duration,
    /// The answer, with its id.
    pub(crate) exists: Duration,
    /// It can be used.
    pub(crate) usable: Duration,
}

impl Moments {
    pub(crate) fn reached(&self, gate: Gate) -> Duration {
        match gate {
            Gate::Exists => self.exists,
            Gate::Usable => self.usable,
        }
    }
}

/// When each resource is made.
pub(crate) type Schedule = BTreeMap<Key, Moments>;

/// What a resource waits for before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// For each edge of the plan, until the gate that stands there: what cannot be avoided.
    Plan,
    /// For each edge of the plan, until the resource is usable.
    EachUsable,
    /// As before; and a group also for the way out of its instances, whose boot would fail without it.
    BehindWayOut,
    /// For everything of the tiers before its own: image, network, balancer, instances.
    Tiers,
}

/// How long it takes to make a resource: until it exists, and until it is usable.
pub(crate) type Takes<'a> = dyn Fn(&Key) -> (Duration, Duration) + 'a;

/// The earliest moments in this order. A plan that only creates is meant.
pub(crate) fn earliest(plan: &Plan, order: Order, takes: &Takes<'_>) -> Schedule {
    let mut schedule = Schedule::new();
    for step in 0..plan.steps.len() {
        made(plan, order, takes, step, &mut schedule);
    }
    schedule
}

fn made(
    plan: &Plan,
    order: Order,
    takes: &Takes<'_>,
    step: usize,
    schedule: &mut Schedule,
) -> Moments {
    let key = &plan.steps[step].key;
    if let Some(moments) = schedule.get(key) {
        return *moments;
    }
    let mut start = Duration::ZERO;
    for (earlier, gate) in needs(plan, order, step) {
        start = start.max(made(plan, order, takes, earlier, schedule).reached(gate));
    }
    let (exists, usable) = takes(key);
    let moments = Moments {
        start,
        exists: start + exists,
        usable: start + usable,
    };
    schedule.insert(key.clone(), moments);
    moments
}

/// The steps that one waits for, and how far they must have come.
pub(crate) fn needs(plan: &Plan, order: Order, step: usize) -> Vec<(usize, Gate)> {
    let edges = plan.steps[step].after.iter();
    let mut needs: Vec<(usize, Gate)> = edges
        .map(|after| match order {
            Order::Plan => (after.step, after.gate),
            _ => (after.step, Gate::Usable),
        })
        .collect();
    let own = &plan.steps[step].key;
    let others = plan.steps.iter().enumerate();
    match order {
        Order::Plan | Order::EachUsable => {}
        Order::BehindWayOut if own.kind == kind::AUTOSCALING_GROUP => {
            let ways = others.filter(|(_, other)| is_way_out(&other.key));
            needs.extend(ways.map(|(other, _)| (other, Gate::Usable)));
        }
        Order::BehindWayOut => {}
        Order::Tiers => {
            let earlier = others.filter(|(_, other)| tier(&other.key) < tier(own));
            needs.extend(earlier.map(|(other, _)| (other, Gate::Usable)));
        }
    }
    needs
}

/// Whether instances need it to reach the internet, where their image comes from.
pub(crate) fn is_way_out(key: &Key) -> bool {
    [
        kind::ROUTE_TABLE,
        kind::NAT_GATEWAY,
        kind::GATEWAY_ENDPOINT,
        kind::NETWORK_ACL,
        kind::SECURITY_GROUP_RULES,
    ]
    .contains(&key.kind)
}

fn tier(key: &Key) -> u8 {
    let is = |kinds: &[landfall_provider::Kind]| kinds.contains(&key.kind);
    if is(&[kind::REPOSITORY, kind::IMAGE]) {
        0
    } else if is(&[
        kind::LOAD_BALANCER,
        kind::LISTENER,
        kind::LISTENER_RULE,
        kind::TARGET_GROUP,
    ]) {
        2
    } else if is(&[
        kind::KEY_PAIR,
        kind::INSTANCE_PROFILE,
        kind::LAUNCH_TEMPLATE,
        kind::AUTOSCALING_GROUP,
        kind::SCALING_POLICY,
        kind::INSTANCE,
    ]) {
        3
    } else {
        1
    }
}

/// When the last resource is gone, if each is asked to go the moment that nothing uses it any more: nobody who
/// mentions it, and nothing that one of those has left behind. A plan that only deletes is meant.
pub(crate) fn last_gone(plan: &Plan, takes: &Takes<'_>) -> Duration {
    let mut free = Vec::new();
    let mut last = Duration::ZERO;
    for step in &plan.steps {
        let after = step.after.iter().map(|after| after.step);
        let start: Duration = after.map(|earlier| free[earlier]).max().unwrap_or_default();
        let (gone, lingers) = match step.action {
            Action::Delete { .. } => takes(&step.key),
            _ => (Duration::ZERO, Duration::ZERO),
        };
        last = last.max(start + gone);
        free.push(start + gone + lingers);
    }
    last
}
