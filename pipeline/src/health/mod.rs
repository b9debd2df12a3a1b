//! Waits until every service is healthy, and diagnoses services that do not become healthy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use landfall_compute::{GroupCapacity, GroupInstance, InstanceState};
use landfall_lb::{TargetHealth, TargetState};
use landfall_provider::{
    ApplyOptions, AutoscalingGroupId, Event, InstanceId, Key, LaunchTemplateId, Operation, Port,
    Probe, ResourceName, Result, TargetGroupId, kind,
};
use tokio::time::Instant;

use crate::cloud::{Cloud, LAST_ANSWER, RequestTimeout};
use crate::config::Service;
use crate::outcome::{Failure, Stage, millis};

mod back;
mod cause;
mod diagnosis;
pub(crate) mod single;

pub(crate) use cause::Cause;
pub(crate) use diagnosis::diagnose_group;
use diagnosis::{diagnose, sick};

/// A version has failed after this many unexpected ends without a healthy instance.
const HOPELESS: usize = 3;

/// The minimum interval of observations: a shorter one would slow down the start of the service.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// A service that should become healthy.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(crate) name: &'a ResourceName,
    pub(crate) service: &'a Service,
    pub(crate) target_group: TargetGroupId,
    pub(crate) group: AutoscalingGroupId,
    /// Its instances before the change; by default, those of the first observation.
    pub(crate) before: Option<Baseline>,
    /// The version to roll out first, unless all instances have it.
    pub(crate) rollout: Option<Rollout>,
}

/// A version of a launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) template: LaunchTemplateId,
    pub(crate) version: u32,
}

/// The progress of a rollout.
enum Rolling<'a> {
    ToBegin(&'a Rollout),
    UnderWay,
    Done,
    /// The provider has rolled it back, or will.
    GivenUp,
}

/// The instances of a group at an earlier moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Baseline {
    /// The lowest template version that counts: after a change of the template, the next one.
    pub(crate) version: u32,
    /// The instances that had already ended before this run.
    pub(crate) failed: BTreeSet<InstanceId>,
}

impl Baseline {
    /// The baseline of these instances; `changes` if their template is about to change.
    ///
    /// The provider does not report a template's version here; each change adds one.
    pub(crate) fn of(instances: &[GroupInstance], changes: bool) -> Self {
        let version = match changes {
            true => instances.iter().map(version).max().map(|newest| newest + 1),
            false => newest_alive(instances),
        };
        Self {
            version: version.unwrap_or_default(),
            failed: instances
                .iter()
                .filter(|instance| failed(instance))
                .map(|instance| instance.id.clone())
                .collect(),
        }
    }
}

/// An observation of a service.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    pub(crate) targets: Vec<TargetHealth>,
    pub(crate) instances: Vec<GroupInstance>,
    /// The desired capacity; unknown after a failed observation.
    pub(crate) capacity: Option<GroupCapacity>,
}

impl Observation {
    pub(crate) async fn at<P: Cloud + ?Sized>(cloud: &P, watched: &Watched<'_>) -> Result<Self> {
        let looks = async {
            futures::try_join!(
                cloud.target_health(&watched.target_group),
                cloud.group_instances(&watched.group),
                cloud.capacity(&watched.group),
            )
        };
        let (mut targets, instances, capacity) = RequestTimeout::default().answer(looks).await?;
        place(&mut targets, &instances, watched.service.port);
        Ok(Self {
            targets,
            instances,
            capacity: Some(capacity),
        })
    }
}

/// Adds zones and addresses to targets, for load balancers that know only their instances.
pub(crate) fn place(targets: &mut [TargetHealth], instances: &[GroupInstance], port: Port) {
    for target in targets {
        let instance = instances
            .iter()
            .find(|instance| instance.id.as_ref() == target.id);
        if let Some(instance) = instance {
            target.zone.get_or_insert_with(|| instance.zone.clone());
            let address = SocketAddrV4::new(instance.private_address, port.get());
            target.address.get_or_insert(address);
        }
    }
}

/// The evaluation of an observation.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The desired number is healthy, no surplus instance runs, and none has an old version.
    Healthy,
    /// Not yet; the text describes the missing part.
    NotYet(String),
    /// It will not become healthy: too many instances ended unexpectedly.
    Hopeless(usize),
}

fn failed(instance: &GroupInstance) -> bool {
    matches!(instance.state, InstanceState::Failed(_))
}

fn is_alive(instance: &GroupInstance) -> bool {
    matches!(
        instance.state,
        InstanceState::Pending | InstanceState::Running
    )
}

fn version(instance: &GroupInstance) -> u32 {
    instance.template_version
}

/// The newest version of a running instance; without one, the newest of the ended instances.
///
/// Instances of an abandoned release stay listed for a while. They do not describe the serving one.
fn newest_alive(instances: &[GroupInstance]) -> Option<u32> {
    let alive = instances.iter().filter(|instance| is_alive(instance));
    let newest = alive.map(version).max();
    newest.or_else(|| instances.iter().map(version).max())
}

/// The relevant version. In a rollout, all its instances may have ended.
fn current(watched: &Watched<'_>, before: &Baseline, look: &Observation) -> u32 {
    let newest = match watched.rollout {
        Some(_) => look.instances.iter().map(version).max(),
        None => newest_alive(&look.instances),
    };
    newest.unwrap_or_default().max(before.version)
}

/// The number of healthy targets of a version.
fn healthy(look: &Observation, version: u32) -> usize {
    let versions: BTreeMap<&str, u32> = look
        .instances
        .iter()
        .map(|instance| (instance.id.as_ref(), instance.template_version))
        .collect();
    look.targets
        .iter()
        .filter(|target| target.state == TargetState::Healthy)
        .filter(|target| versions.get(target.id.as_str()) == Some(&version))
        .count()
}

fn verdict(watched: &Watched<'_>, before: &Baseline, look: &Observation) -> Verdict {
    let current = current(watched, before, look);
    let healthy = healthy(look, current);
    let old = look
        .instances
        .iter()
        .filter(|instance| instance.template_version < current)
        .filter(|instance| is_alive(instance))
        .count();
    let desired = desired(watched.service, look);
    let alive = look.instances.iter().filter(|instance| is_alive(instance));
    let surplus = (alive.count() - old).saturating_sub(desired);
    if healthy >= desired && old == 0 && surplus == 0 {
        return Verdict::Healthy;
    }
    let ended = look
        .instances
        .iter()
        .filter(|instance| instance.template_version == current && failed(instance))
        .filter(|instance| !before.failed.contains(&instance.id))
        .count();
    if ended >= HOPELESS && healthy == 0 {
        return Verdict::Hopeless(ended);
    }
    let mut why = format!("{healthy} of {desired} targets are healthy");
    for (what, count) in reasons(look, ended) {
        why.push_str(&format!(", {count} {what}"));
    }
    if old > 0 {
        why.push_str(&format!(", {old} of the version before"));
    }
    if surplus > 0 {
        why.push_str(&format!(", {surplus} more than that still run"));
    }
    Verdict::NotYet(why)
}

/// The number that should be healthy: the group's current desired capacity, set by the file, by hand or by a policy.
fn desired(service: &Service, look: &Observation) -> usize {
    let wished = service.scale.desired;
    look.capacity.map_or(wished, |capacity| capacity.desired) as usize
}

/// The reason codes of the waiting targets, with their numbers.
fn reasons(look: &Observation, ended: usize) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for target in &look.targets {
        if target.state != TargetState::Healthy {
            let reason = target
                .reason
                .map_or_else(|| target.state.to_string(), |reason| reason.to_string());
            *reasons.entry(reason).or_default() += 1;
        }
    }
    if ended > 0 {
        reasons.insert("ended by themselves".to_owned(), ended);
    }
    reasons
}

/// Waits until all services are healthy, each until its deadline, and returns their targets with their services.
///
/// Without rollouts, the first failure ends the wait: the whole deploy will be undone. A rollout is observed
/// until its end, even if another one fails.
pub(crate) async fn wait<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &[Watched<'_>],
    options: &ApplyOptions,
) -> std::result::Result<Vec<(ResourceName, TargetHealth)>, Box<Failure>> {
    // The wait ends at a stop, even if the provider does not answer.
    let unheard = async {
        options.stop.cancelled().await;
        tokio::time::sleep(LAST_ANSWER).await;
    };
    let outcomes = tokio::select! {
        biased;
        outcomes = all(cloud, watched, options) => outcomes,
        () = unheard => {
            let message = "interrupted while the provider did not answer whether the service is healthy";
            return Err(Failure::new(Stage::Interrupted, message));
        }
    };
    let mut targets = Vec::new();
    let mut failures: Option<Box<Failure>> = None;
    for outcome in outcomes {
        match (outcome, &mut failures) {
            (Ok(more), _) => targets.extend(more),
            (Err(failure), Some(failures)) => failures.join(*failure),
            (Err(failure), none) => *none = Some(failure),
        }
    }
    if let Some(failure) = failures {
        return Err(failure);
    }
    targets.sort_by(|(_, a), (_, b)| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
    Ok(targets)
}

type Outcome<T> = std::result::Result<Vec<T>, Box<Failure>>;

/// The results of all, or of the first failure.
async fn all<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &[Watched<'_>],
    options: &ApplyOptions,
) -> Vec<Outcome<(ResourceName, TargetHealth)>> {
    let waiting = watched.iter().map(async |watched| {
        let targets = one(cloud, watched, options).await?;
        let named = targets
            .into_iter()
            .map(|target| (watched.name.clone(), target));
        Ok(named.collect::<Vec<_>>())
    });
    if watched.iter().any(|watched| watched.rollout.is_some()) {
        return join_all(waiting).await;
    }
    match try_join_all(waiting).await {
        Ok(targets) => targets.into_iter().map(Ok).collect(),
        Err(failure) => vec![Err(failure)],
    }
}

async fn one<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    options: &ApplyOptions,
) -> Outcome<TargetHealth> {
    let key = Key::new(kind::TARGET_GROUP, watched.name.clone());
    let start = Instant::now();
    let request_timeout = |seconds: u32| Duration::from_secs(seconds.into());
    let mut deadline = start + request_timeout(watched.service.health.deadline);
    let mut pause = options.poll_interval.first.max(SHORTEST_PAUSE);
    let mut reported = ProgressReporter::new(key.clone(), watched, options);
    let mut last = Observation::default();
    let mut before = watched.before.clone();
    let mut rolling = watched
        .rollout
        .as_ref()
        .map_or(Rolling::Done, Rolling::ToBegin);
    // Old instances may finish their requests after the new ones have taken over.
    let mut draining = watched
        .rollout
        .as_ref()
        .map(|_| request_timeout(watched.service.deregistration_delay));
    let failure = loop {
        let to_begin = matches!(rolling, Rolling::ToBegin(_));
        let rolled = rolled(cloud, watched, &mut rolling).await;
        if to_begin && !matches!(rolling, Rolling::ToBegin(_)) {
            // The time of the earlier steps does not count.
            deadline = Instant::now() + request_timeout(watched.service.health.deadline);
        }
        let looked = match rolled {
            Ok(rolled) => Observation::at(cloud, watched)
                .await
                .map(|look| (rolled, look)),
            Err(error) => Err(error),
        };
        let why = match looked {
            Ok((rolled, look)) => {
                let before = before.get_or_insert_with(|| Baseline::of(&look.instances, false));
                let verdict = verdict(watched, before, &look);
                // Instances that the provider has terminated since are reported as observed.
                if !matches!(rolled, Rolled::GivenUp(_)) || !sick(watched, &look).is_empty() {
                    last = look;
                }
                match (rolled, verdict) {
                    (Rolled::GivenUp(why), _) => {
                        rolling = Rolling::GivenUp;
                        let what =
                            format!("the new version of the service {} failed", watched.name);
                        break diagnose(cloud, watched, &last, &what, &why).await;
                    }
                    (Rolled::Done, Verdict::Healthy) => {
                        reported.done(start);
                        return Ok(last.targets);
                    }
                    (_, Verdict::Hopeless(ended)) => {
                        let what = format!("the service {} does not start", watched.name);
                        let why = format!("{ended} instances ended, and none became healthy");
                        break diagnose(cloud, watched, &last, &what, &why).await;
                    }
                    (Rolled::NotYet(why), Verdict::Healthy | Verdict::NotYet(_))
                    | (Rolled::Done, Verdict::NotYet(why)) => why,
                }
            }
            Err(error) if error.kind().is_transient() => error.to_string(),
            Err(error) => {
                let doing = format!("cannot find out whether {} is healthy", watched.name);
                break Failure::of(Stage::Health, &doing, error);
            }
        };
        if Instant::now() >= deadline {
            match draining.take() {
                Some(longer) if has_taken_over(watched, before.as_ref(), &last) => {
                    deadline += longer;
                }
                _ => break diagnose(cloud, watched, &last, &late(watched), &why).await,
            }
        }
        reported.waiting(why);
        tokio::select! {
            () = tokio::time::sleep_until(deadline.min(Instant::now() + pause)) => {}
            () = options.stop.cancelled() => {
                let mut failure = Failure::new(
                    Stage::Interrupted,
                    format_args!("interrupted while {} was becoming healthy", watched.name),
                );
                if matches!(rolling, Rolling::UnderWay) {
                    failure = failure.hint(GOES_ON);
                }
                return Err(failure);
            }
        }
        pause = (pause * 3 / 2).min(options.poll_interval.longest.max(SHORTEST_PAUSE));
    };
    reported.failed(&failure.message);
    match (&watched.rollout, rolling) {
        (Some(rollout), Rolling::UnderWay | Rolling::GivenUp) => {
            Err(back::go_back(cloud, watched, rollout, options, failure).await)
        }
        _ => Err(failure),
    }
}

/// The result of a rollout without a wait.
const GOES_ON: &str = "the rollout continues at the provider, and is rolled back if the new version does not become healthy; \
                       `deploy` waits for it again";

/// Whether the new version serves, and only old instances are still ending.
fn has_taken_over(watched: &Watched<'_>, before: Option<&Baseline>, look: &Observation) -> bool {
    let before = before.cloned().unwrap_or_default();
    let current = current(watched, &before, look);
    healthy(look, current) >= desired(watched.service, look)
}

/// Reports the state of a service during the wait, each state once.
struct ProgressReporter<'a> {
    key: Key,
    id: String,
    options: &'a ApplyOptions,
    last: Option<String>,
}

impl<'a> ProgressReporter<'a> {
    fn new(key: Key, watched: &Watched<'_>, options: &'a ApplyOptions) -> Self {
        Self {
            key,
            id: watched.target_group.to_string(),
            options,
            last: None,
        }
    }

    fn waiting(&mut self, why: String) {
        if self.last.is_none() {
            self.options.events.emit(Event::Started {
                key: self.key.clone(),
                verb: Operation::Await,
            });
        }
        if self.last.as_ref() != Some(&why) {
            self.options.events.emit(Event::Waiting {
                key: self.key.clone(),
                id: self.id.clone(),
                why: why.clone(),
            });
            self.last = Some(why);
        }
    }

    /// Without a wait there is no report.
    fn done(&self, start: Instant) {
        if self.last.is_some() {
            self.options.events.emit(Event::Done {
                key: self.key.clone(),
                verb: Operation::Await,
                id: self.id.clone(),
                took_ms: millis(start.elapsed()),
            });
        }
    }

    fn failed(&self, error: &str) {
        self.options.events.emit(Event::Failed {
            key: self.key.clone(),
            verb: Operation::Await,
            error: error.to_owned(),
        });
    }
}

/// An observation of a rollout.
enum Rolled {
    /// All instances have the desired version.
    Done,
    NotYet(String),
    /// The provider has rolled it back, or is doing so.
    GivenUp(String),
}

/// Starts a rollout unless it runs, and observes its progress.
async fn rolled<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    rolling: &mut Rolling<'_>,
) -> Result<Rolled> {
    if let Rolling::ToBegin(rollout) = rolling {
        let Rollout { template, version } = rollout;
        let rolled = cloud.roll(&watched.group, template, *version);
        RequestTimeout::default().answer(rolled).await?;
        *rolling = Rolling::UnderWay;
    }
    if let Rolling::Done = rolling {
        return Ok(Rolled::Done);
    }
    let looked = RequestTimeout::default().answer(cloud.rolling(&watched.group));
    Ok(match looked.await? {
        Probe::Usable(()) => {
            *rolling = Rolling::Done;
            Rolled::Done
        }
        Probe::Failed(why) | Probe::Ending(why) => Rolled::GivenUp(why),
        Probe::Pending(why) => Rolled::NotYet(why),
        Probe::Absent => Rolled::NotYet("its instances are about to be replaced".to_owned()),
    })
}

/// The failure at its deadline.
fn late(watched: &Watched<'_>) -> String {
    format!(
        "the service {} did not become healthy within {} s",
        watched.name, watched.service.health.deadline
    )
}
