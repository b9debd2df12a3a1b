//! The life of an instance: starts its container, registers it with the load balancers, records its end, stops it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_provider::{AutoscalingGroupId, InstanceId};
use landfall_sandbox::Running;
use tracing::warn;

use super::load_balancer;
use crate::daemon::records::machine::Phase;
use crate::daemon::records::state::State;
use crate::daemon::records::{group, rollout};
use crate::daemon::runtime::cloud::Cloud;
use crate::daemon::runtime::container::{self, Started};

/// The time between SIGTERM and SIGKILL, as in `docker stop`.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The number of ended instances that a group keeps in its records.
const ENDED_KEPT: usize = 4;

/// Starts a task that starts the instance and records its end.
pub(in crate::daemon) fn run(cloud: &Arc<Cloud>, id: InstanceId) {
    let cloud = Arc::clone(cloud);
    tokio::spawn(async move {
        let how = match start(&cloud, &id).await {
            Ok(None) => return,
            Ok(Some(running)) => running.how().await,
            Err(error) => container::not_started(&id, &error),
        };
        ended(&cloud, &id, &how);
    });
}

/// Starts what an instance runs; `None` without a container, or when the instance was deleted.
///
/// # Errors
/// When its container does not start.
pub(in crate::daemon) async fn start(
    cloud: &Arc<Cloud>,
    id: &InstanceId,
) -> Result<Option<Arc<Running>>, landfall_sandbox::Error> {
    let running = match container::start(cloud, id).await? {
        Started::Unwanted => return Ok(None),
        Started::WithoutContainer => None,
        Started::Container(running) => Some(running),
    };
    started(cloud, id);
    Ok(running)
}

/// Records that an instance runs, and registers it with the load balancers.
fn started(cloud: &Cloud, id: &InstanceId) {
    let mut inner = cloud.lock();
    match inner.state.machines.get_mut(id) {
        Some(machine) if machine.phase == Phase::Booting => machine.phase = Phase::Running,
        // Its deletion has begun, and waits for the start to finish.
        _ => {}
    }
    if inner
        .state
        .machines
        .get(id)
        .is_some_and(|machine| machine.phase == Phase::Running)
        && let Err(error) = load_balancer::register(&inner, id)
    {
        warn!(instance = %id, "{error}");
    }
    drop(inner);
    cloud.tell();
}

/// Records that an instance has ended unexpectedly. Its network interface is removed; its record stays for a while.
fn ended(cloud: &Cloud, id: &InstanceId, how: &str) {
    let was_healthy = {
        let mut inner = cloud.lock();
        container::close_ssh(&mut inner, id);
        let healthy = load_balancer::health(&inner, id) == group::Health::Healthy;
        // The container has ended, so there is nothing to drain.
        drop(load_balancer::deregister(&inner, id));
        healthy
    };
    let changed = cloud.change(|state| {
        let Some(machine) = state.machines.get_mut(id) else {
            return Ok(());
        };
        if machine.phase == Phase::Stopping {
            // An expected end: the task that stops the instance removes the record.
            return Ok(());
        }
        machine.phase = Phase::Ended(how.to_owned());
        machine.ended = Some(SystemTime::now());
        machine.was_healthy |= was_healthy;
        let machine = machine.clone();
        rollout::record_exit(state, &machine, how);
        if let Some(group) = &machine.group {
            forget_oldest(state, group);
        }
        Ok(())
    });
    if let Err(error) = changed {
        warn!(instance = %id, "{error}");
    }
}

fn forget_oldest(state: &mut State, group: &AutoscalingGroupId) {
    let ended = state.machines.iter().filter(|(_, machine)| {
        machine.group.as_ref() == Some(group) && matches!(machine.phase, Phase::Ended(_))
    });
    let mut ended: Vec<_> = ended
        .map(|(id, machine)| (machine.launched, id.clone()))
        .collect();
    ended.sort();
    for (_, id) in ended.iter().rev().skip(ENDED_KEPT) {
        state.machines.remove(id);
    }
}

/// Drains an instance and stops its container.
pub(in crate::daemon) async fn stop(cloud: &Cloud, id: &InstanceId) {
    let drains = {
        let mut inner = cloud.lock();
        if let Some(machine) = inner.state.machines.get_mut(id) {
            machine.phase = Phase::Stopping;
        }
        load_balancer::deregister(&inner, id)
    };
    cloud.tell();
    futures::future::join_all(drains).await;
    // A container that is still starting is stopped as soon as it runs.
    let mut changes = cloud.changed.subscribe();
    let running = loop {
        changes.mark_unchanged();
        match cloud.lock().containers.get(id) {
            Some(container) if container.running().is_some() => break container.running(),
            Some(container) if container.is_starting() => {}
            _ => break None,
        }
        if changes.changed().await.is_err() {
            break None;
        }
    };
    if let Some(running) = running {
        running.stop(STOP_GRACE).await;
    }
    container::close_ssh(&mut cloud.lock(), id);
}
