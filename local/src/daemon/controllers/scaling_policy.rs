//! The desired capacity of groups: set by hand, or by their scaling policies. A task per group measures, [`tracking`]
//! decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_compute::{AutoscalingGroup, GroupCapacity, Metric, Scaling};
use landfall_provider::{
    AutoscalingGroupId, Error, ErrorKind, InstanceId, Result, ScalingPolicyId,
};
use tokio::time::Instant;

use super::load_balancer;
use super::tracking::{self, Proposal, Track};
use crate::daemon::records::group::Health;
use crate::daemon::records::machine::Phase;
use crate::daemon::records::state::State;
use crate::daemon::records::table::find;
use crate::daemon::runtime::cloud::{Cloud, Inner};
use landfall_sandbox::processor_times;
use tracing::{info, warn};

/// The desired capacity of a group.
pub(in crate::daemon) fn capacity(
    state: &State,
    group: &AutoscalingGroupId,
) -> Result<GroupCapacity> {
    let entry = find::<AutoscalingGroup>(state, group)?;
    Ok(GroupCapacity {
        min: entry.spec.min,
        desired: entry.facts.capacity,
        max: entry.spec.max,
    })
}

/// The last change of a group's desired capacity.
pub(in crate::daemon) fn last(
    state: &State,
    group: &AutoscalingGroupId,
) -> Result<Option<Scaling>> {
    Ok(find::<AutoscalingGroup>(state, group)?.facts.scaled.clone())
}

/// Sets the desired capacity of a group; its controller launches or terminates instances.
pub(in crate::daemon) fn set(
    cloud: &Cloud,
    group: &AutoscalingGroupId,
    desired: u32,
    why: &str,
) -> Result<()> {
    let mut inner = cloud.lock();
    let GroupCapacity {
        min,
        desired: before,
        max,
    } = capacity(&inner.state, group)?;
    if !(min..=max).contains(&desired) {
        return Err(Error::new(
            ErrorKind::Invalid,
            format_args!("{group} has between {min} and {max} instances, and not {desired}"),
        ));
    }
    if desired != before
        && let Some(entry) = inner.state.tables.autoscaling_groups.get_mut(group)
    {
        let why = format!("from {before} to {desired}: {why}");
        info!(%group, "scaled {why}");
        entry.facts.capacity = desired;
        entry.facts.scaled = Some(Scaling {
            at: Some(SystemTime::now()),
            why,
        });
    }
    drop(inner);
    cloud.tell();
    Ok(())
}

/// Starts the task that applies a group's scaling policies until the group is deleted.
pub(in crate::daemon) fn follow(cloud: &Arc<Cloud>, group: AutoscalingGroupId) {
    let cloud = Arc::clone(cloud);
    tokio::spawn(async move {
        let mut changes = cloud.changed.subscribe();
        let mut followed = Followed::new();
        loop {
            changes.mark_unchanged();
            let seen = look(&cloud.lock(), &group);
            match seen {
                None => return,
                Some(seen) if seen.policies.is_empty() => {
                    followed = Followed::new();
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
                Some(seen) => {
                    let pids: Vec<i32> = seen.pids.values().copied().collect();
                    let times = match seen.tracks_processors() {
                        true => tokio::task::spawn_blocking(move || processor_times(&pids)).await,
                        false => Ok(BTreeMap::new()),
                    };
                    let times = times.unwrap_or_default();
                    if let Some((desired, why)) = followed.decide(&seen, &times, Instant::now())
                        && let Err(error) = set(&cloud, &group, desired, &why)
                    {
                        warn!(%group, "{error}");
                    }
                    tokio::time::sleep(tracking::EVERY).await;
                }
            }
        }
    });
}

/// The measurements that a group's policies use.
struct Seen {
    capacity: GroupCapacity,
    /// By id: the name, the tracked metric, and the number of requests so far if it counts them.
    policies: BTreeMap<ScalingPolicyId, (String, Metric, u64)>,
    /// The instances that serve requests; starting ones have no load yet.
    serving: Vec<InstanceId>,
    /// The first process of each running instance.
    pids: BTreeMap<InstanceId, i32>,
}

impl Seen {
    fn tracks_processors(&self) -> bool {
        let mut policies = self.policies.values();
        policies.any(|(_, metric, _)| matches!(metric, Metric::Cpu(_)))
    }
}

/// Measures a group; `None` if it is deleted or being deleted.
fn look(inner: &Inner, id: &AutoscalingGroupId) -> Option<Seen> {
    let group = inner.state.tables.autoscaling_groups.get(id)?;
    if group.ending {
        return None;
    }
    let policies = inner.state.tables.scaling_policies.iter();
    let policies = policies.filter(|(_, entry)| entry.spec.group.known() == Some(id));
    let policies = policies.map(|(policy, entry)| {
        let requests = match &entry.spec.metric {
            Metric::RequestsPerTarget { target_group, .. } => target_group
                .known()
                .map_or(0, |group| load_balancer::requests(inner, group)),
            Metric::Cpu(_) => 0,
        };
        let metric = entry.spec.metric.clone();
        (policy.clone(), (entry.name.to_string(), metric, requests))
    });
    let running = inner.state.machines.iter().filter(|(_, machine)| {
        machine.group.as_ref() == Some(id) && machine.phase == Phase::Running
    });
    let running: Vec<&InstanceId> = running.map(|(instance, _)| instance).collect();
    Some(Seen {
        capacity: capacity(&inner.state, id).ok()?,
        policies: policies.collect(),
        serving: running
            .iter()
            .filter(|instance| load_balancer::health(inner, instance) == Health::Healthy)
            .map(|instance| (*instance).clone())
            .collect(),
        pids: running
            .iter()
            .filter_map(|instance| {
                let pid = inner.containers.get(*instance)?.pid()?;
                Some(((*instance).clone(), pid))
            })
            .collect(),
    })
}

/// The state of a group's policies between two measurements.
struct Followed {
    policies: BTreeMap<ScalingPolicyId, Policy>,
    /// The CPU time of the instances so far.
    times: BTreeMap<InstanceId, Duration>,
    /// The time of that measurement.
    measured: Option<Instant>,
    capacity: Option<u32>,
    /// The time since when the desired number of instances serves, without a change.
    stable_since: Instant,
}

struct Policy {
    metric: Metric,
    track: Track,
    requests: u64,
}

impl Followed {
    fn new() -> Self {
        Self {
            policies: BTreeMap::new(),
            times: BTreeMap::new(),
            measured: None,
            capacity: None,
            stable_since: Instant::now(),
        }
    }

    /// Adds a measurement. Returns the new desired capacity and the reason, if it differs from the current one.
    fn decide(
        &mut self,
        seen: &Seen,
        times: &BTreeMap<i32, Duration>,
        now: Instant,
    ) -> Option<(u32, String)> {
        let serving = u32::try_from(seen.serving.len()).unwrap_or(u32::MAX);
        let GroupCapacity { min, desired, max } = seen.capacity;
        // New instances have to serve for a while before a scale-in.
        if self.capacity.replace(desired) != Some(desired) || serving < desired {
            self.stable_since = now;
        }
        self.measure(seen, times, now);
        if serving == 0 {
            return None;
        }
        let followed: Vec<(&String, &Policy)> = seen
            .policies
            .iter()
            .filter_map(|(id, (name, ..))| Some((name, self.policies.get(id)?)))
            .collect();
        let proposals: Vec<Proposal> = followed
            .iter()
            .map(|(_, policy)| policy.track.proposal(desired, self.stable_since))
            .collect();
        let (index, number) = tracking::agree(&proposals, desired, min, max)?;
        let (name, policy) = followed.get(index)?;
        let proposal = *proposals.get(index)?;
        let each = policy.track.each(proposal, serving).unwrap_or_default();
        let at_most = match proposal {
            Proposal::In(_) => "at most ",
            Proposal::Out(_) | Proposal::Keep => "",
        };
        Some((
            number,
            format!("{at_most}{} ({name})", reported(&policy.metric, each)),
        ))
    }

    fn measure(&mut self, seen: &Seen, times: &BTreeMap<i32, Duration>, now: Instant) {
        let before = self.measured.replace(now);
        let since = before.map(|before| now.duration_since(before).as_secs_f64());
        let since = since.filter(|since| *since > 0.0);
        let used: BTreeMap<InstanceId, Duration> = seen
            .pids
            .iter()
            .filter_map(|(instance, pid)| Some((instance.clone(), *times.get(pid)?)))
            .collect();
        self.policies.retain(|id, policy| {
            let same = seen.policies.get(id);
            same.is_some_and(|(_, metric, _)| *metric == policy.metric)
        });
        for (id, (_, metric, requests)) in &seen.policies {
            let Some(policy) = self.policies.get_mut(id) else {
                let policy = Policy {
                    metric: metric.clone(),
                    track: Track::new(target(metric)),
                    requests: *requests,
                };
                self.policies.insert(id.clone(), policy);
                continue;
            };
            let counted = requests.saturating_sub(policy.requests);
            policy.requests = *requests;
            let Some(since) = since else { continue };
            let load = match metric {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "no second has that many requests"
                )]
                Metric::RequestsPerTarget { .. } => counted as f64 / since * 60.0,
                Metric::Cpu(_) => {
                    let busy = seen.serving.iter().filter_map(|instance| {
                        let (before, after) = (self.times.get(instance)?, used.get(instance)?);
                        Some(after.saturating_sub(*before))
                    });
                    busy.sum::<Duration>().as_secs_f64() / since * 100.0
                }
            };
            policy.track.measure(now, load);
        }
        self.times = used;
    }
}

/// The target value of a policy, per instance.
fn target(metric: &Metric) -> f64 {
    match metric {
        Metric::Cpu(percent) => f64::from((*percent).max(1)),
        Metric::RequestsPerTarget { requests, .. } => f64::from((*requests).max(1)),
    }
}

/// The current and the target value, per instance.
fn reported(metric: &Metric, each: f64) -> String {
    match metric {
        Metric::Cpu(percent) => {
            format!("{each:.0} % CPU use per instance, target {percent} %")
        }
        Metric::RequestsPerTarget { requests, .. } => {
            format!("{each:.0} requests per instance and minute, target {requests}")
        }
    }
}
