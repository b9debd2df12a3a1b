//! How many instances a group is to have, as long as nobody changes the wish for it: set by hand, or by the group's
//! policies, which are followed here. [`tracking`] decides.

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
use landfall_kernel::log;
use landfall_sandbox::processor_times;

/// What a group is to have now.
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

/// The last time that its capacity was changed.
pub(in crate::daemon) fn last(
    state: &State,
    group: &AutoscalingGroupId,
) -> Result<Option<Scaling>> {
    Ok(find::<AutoscalingGroup>(state, group)?.facts.scaled.clone())
}

/// Has a group have this many instances from now on; the keeper does the rest.
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
        log(format_args!("{group}: scaled {why}"));
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

/// Starts the task that follows a group's policies, until the group is gone.
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
                        log(format_args!("{group}: {error}"));
                    }
                    tokio::time::sleep(tracking::EVERY).await;
                }
            }
        }
    });
}

/// A group as its policies see it.
struct Seen {
    capacity: GroupCapacity,
    /// By id: the name, what it tracks, and how many requests there have been if that is what it counts.
    policies: BTreeMap<ScalingPolicyId, (String, Metric, u64)>,
    /// The instances that take requests: those that are still starting bear nothing yet.
    serving: Vec<InstanceId>,
    /// The first process of each that runs.
    pids: BTreeMap<InstanceId, i32>,
}

impl Seen {
    fn tracks_processors(&self) -> bool {
        let mut policies = self.policies.values();
        policies.any(|(_, metric, _)| matches!(metric, Metric::Cpu(_)))
    }
}

/// Looks at a group; `None` when it is gone or going.
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

/// What is remembered of a group's policies from one measurement to the next.
struct Followed {
    policies: BTreeMap<ScalingPolicyId, Policy>,
    /// What the instances had used of the processors.
    times: BTreeMap<InstanceId, Duration>,
    /// When that was.
    measured: Option<Instant>,
    capacity: Option<u32>,
    /// Since when as many instances take requests as are wanted, and as many are wanted as now.
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

    /// Takes in what there is to see and gives how many instances there are to be from now on, and why, if that is
    /// another number than now.
    fn decide(
        &mut self,
        seen: &Seen,
        times: &BTreeMap<i32, Duration>,
        now: Instant,
    ) -> Option<(u32, String)> {
        let serving = u32::try_from(seen.serving.len()).unwrap_or(u32::MAX);
        let GroupCapacity { min, desired, max } = seen.capacity;
        // New instances are seen at work before any of them goes.
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

/// What an instance is to bear.
fn target(metric: &Metric) -> f64 {
    match metric {
        Metric::Cpu(percent) => f64::from((*percent).max(1)),
        Metric::RequestsPerTarget { requests, .. } => f64::from((*requests).max(1)),
    }
}

/// What an instance bears, and what it is to.
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
