//! When the targets of the example are healthy, given when its resources are made: from the group's instances
//! over their boot to the first check that passes.

use std::time::Duration;

use landfall_provider::{Gate, Key, Kind, Plan, kind};

use super::schedule::{Order, Schedule, is_way_out, needs};

/// From running to the boot script's first request: the kernel, and the engine that runs containers. Assumed.
const BOOT: Duration = Duration::from_secs(20);
/// From then on, with a way out, to a container that answers: pulling the image and starting it. Assumed.
const PULL: Duration = Duration::from_secs(10);

/// How the instances of the group come up; all of them do at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets {
    /// They run and are registered: the group has its capacity.
    pub(crate) running: Duration,
    /// Their boot script asks for the image. It waits as long as there is no way out.
    pub(crate) booted: Duration,
    /// Their image can be pulled.
    pub(crate) way_out: Duration,
    /// Their containers answer.
    pub(crate) serving: Duration,
    /// They are checked for the first time: the balancer is active, and a listener leads to them.
    pub(crate) checked: Duration,
    /// The first check that passes.
    pub(crate) healthy: Duration,
}

impl Targets {
    /// With checks so often, the first of them when they can begin.
    pub(crate) fn of(schedule: &Schedule, interval: Duration) -> Self {
        let usable = |of: &Kind| {
            let all = schedule.iter().filter(|(key, _)| key.kind == *of);
            all.map(|(_, moments)| moments.usable)
                .max()
                .unwrap_or_default()
        };
        let running = usable(&kind::AUTOSCALING_GROUP);
        let booted = running + BOOT;
        let ways = schedule.iter().filter(|(key, _)| is_way_out(key));
        let way_out = ways
            .map(|(_, moments)| moments.usable)
            .max()
            .unwrap_or_default();
        let serving = booted.max(way_out) + PULL;
        let checked = running
            .max(usable(&kind::LOAD_BALANCER))
            .max(usable(&kind::LISTENER));
        let late = serving.saturating_sub(checked);
        let rounds = late.as_nanos().div_ceil(interval.as_nanos().max(1));
        Self {
            running,
            booted,
            way_out,
            serving,
            checked,
            healthy: checked + interval * u32::try_from(rounds).unwrap_or(u32::MAX),
        }
    }

    /// The chain of resources that each waited for the one before it, the last of which the targets waited for.
    pub(crate) fn critical(&self, schedule: &Schedule, plan: &Plan) -> Vec<Key> {
        let awaited = |key: &Key| {
            if self.serving <= self.checked {
                let first = [kind::LOAD_BALANCER, kind::LISTENER, kind::AUTOSCALING_GROUP];
                first.contains(&key.kind)
            } else if self.booted >= self.way_out {
                key.kind == kind::AUTOSCALING_GROUP
            } else {
                is_way_out(key)
            }
        };
        let steps = plan.steps.iter().enumerate();
        let mut last = steps
            .filter(|(_, step)| awaited(&step.key))
            .max_by_key(|(_, step)| schedule[&step.key].usable)
            .map(|(step, _)| step);
        let mut chain = Vec::new();
        while let Some(step) = last {
            chain.push(plan.steps[step].key.clone());
            let reached = |(earlier, gate): &(usize, Gate)| {
                schedule[&plan.steps[*earlier].key].reached(*gate)
            };
            let needs = needs(plan, Order::Plan, step).into_iter();
            last = needs.max_by_key(reached).map(|(earlier, _)| earlier);
        }
        chain.reverse();
        chain
    }
}
