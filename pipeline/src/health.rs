//! Waiting until every service is healthy, and finding out why it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

use futures::future::try_join_all;
use landfall_compute::{GroupInstance, InstanceState};
use landfall_lb::{HealthReason, TargetHealth, TargetState};
use landfall_provider::{
    ApplyOptions, AutoscalingGroupId, Event, InstanceId, Key, LaunchTemplateId, Port, Probe,
    ResourceName, Result, TargetGroupId, Verb, kind,
};
use tokio::time::Instant;

use crate::answer::{LAST_ANSWER, Patience};
use crate::cloud::Cloud;
use crate::config::Service;
use crate::outcome::{Failure, Sick, Stage, millis};

/// So many instances of one version that ended by themselves, and none that is healthy: it will not get better.
const HOPELESS: usize = 3;

/// How many of its last lines an instance is quoted with.
const QUOTED: usize = 20;

/// The pause before the second look at least: less would only keep the machine busy that the service starts on.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// A service that is to become healthy.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    pub(crate) name: &'a ResourceName,
    pub(crate) service: &'a Service,
    pub(crate) target_group: TargetGroupId,
    pub(crate) group: AutoscalingGroupId,
    /// What was known of its instances before anything was changed; without it, the first look tells.
    pub(crate) before: Option<Before>,
    /// What its instances are to be brought to first, if they are not all there yet.
    pub(crate) rollout: Option<Rollout>,
}

/// A version of a launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) template: LaunchTemplateId,
    pub(crate) version: u32,
}

/// How far a rollout is.
enum Rolling<'a> {
    ToBegin(&'a Rollout),
    UnderWay,
    Done,
}

/// The instances of a group at an earlier moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// The lowest template version that counts: one more than there was, when the template is changed.
    pub(crate) version: u32,
    /// Those that had ended by themselves already, and say nothing about this run.
    pub(crate) failed: BTreeSet<InstanceId>,
}

impl Before {
    /// What these instances tell; `changes` says that their template is about to be changed.
    ///
    /// The provider does not tell a template's version, only that each change makes one more.
    pub(crate) fn of(instances: &[GroupInstance], changes: bool) -> Self {
        let newest = instances
            .iter()
            .map(|instance| instance.template_version)
            .max();
        Self {
            version: newest.map_or(0, |newest| newest + u32::from(changes)),
            failed: instances
                .iter()
                .filter(|instance| failed(instance))
                .map(|instance| instance.id.clone())
                .collect(),
        }
    }
}

/// What was seen of a service at one moment.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) targets: Vec<TargetHealth>,
    pub(crate) instances: Vec<GroupInstance>,
}

impl Look {
    pub(crate) async fn at<P: Cloud + ?Sized>(cloud: &P, watched: &Watched<'_>) -> Result<Self> {
        let looks = async {
            futures::try_join!(
                cloud.target_health(&watched.target_group),
                cloud.group_instances(&watched.group),
            )
        };
        let (mut targets, instances) = Patience::default().answer(looks).await?;
        place(&mut targets, &instances, watched.service.port);
        Ok(Self { targets, instances })
    }
}

/// Says where targets stand, for balancers that know them by instance only.
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

/// What a look means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// As many as desired are healthy, and none is of an old version.
    Healthy,
    /// Not yet; the text says what is missing.
    NotYet(String),
    /// Nor will it be: so many have ended by themselves.
    Hopeless(usize),
}

fn failed(instance: &GroupInstance) -> bool {
    matches!(instance.state, InstanceState::Failed(_))
}

fn verdict(watched: &Watched<'_>, before: &Before, look: &Look) -> Verdict {
    let newest = look
        .instances
        .iter()
        .map(|instance| instance.template_version)
        .max();
    let current = newest.unwrap_or_default().max(before.version);
    let version: BTreeMap<&str, u32> = look
        .instances
        .iter()
        .map(|instance| (instance.id.as_ref(), instance.template_version))
        .collect();
    let healthy = look
        .targets
        .iter()
        .filter(|target| target.state == TargetState::Healthy)
        .filter(|target| version.get(target.id.as_str()) == Some(&current))
        .count();
    let old = look
        .instances
        .iter()
        .filter(|instance| instance.template_version < current)
        .filter(|instance| {
            matches!(
                instance.state,
                InstanceState::Pending | InstanceState::Running
            )
        })
        .count();
    let desired = desired(watched.service, look, current);
    if healthy >= desired && old == 0 {
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
    Verdict::NotYet(why)
}

/// How many are to be healthy: as many as the file says, or where policies scale the group, as it has now.
fn desired(service: &Service, look: &Look, current: u32) -> usize {
    let scale = &service.scale;
    if scale.cpu.is_none() && scale.requests.is_none() {
        return scale.desired as usize;
    }
    let alive = look.instances.iter().filter(|instance| {
        let is_alive = matches!(
            instance.state,
            InstanceState::Pending | InstanceState::Running
        );
        is_alive && instance.template_version == current
    });
    alive.count().max(scale.min as usize)
}

/// What the targets wait for, by the codes, and how many each.
fn reasons(look: &Look, ended: usize) -> BTreeMap<String, usize> {
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

/// Waits until all services are healthy, each until its deadline, and gives their targets.
pub(crate) async fn wait<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &[Watched<'_>],
    options: &ApplyOptions,
) -> std::result::Result<Vec<TargetHealth>, Box<Failure>> {
    let waiting = watched.iter().map(|watched| one(cloud, watched, options));
    // Whoever waits hears of the stop; a provider that does not answer does not.
    let unheard = async {
        options.stop.cancelled().await;
        tokio::time::sleep(LAST_ANSWER).await;
    };
    let all = tokio::select! {
        biased;
        all = try_join_all(waiting) => all?,
        () = unheard => {
            let message = "interrupted while the provider did not answer whether the service is healthy";
            return Err(Failure::new(Stage::Interrupted, message));
        }
    };
    let mut targets: Vec<_> = all.into_iter().flatten().collect();
    targets.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
    Ok(targets)
}

async fn one<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    options: &ApplyOptions,
) -> std::result::Result<Vec<TargetHealth>, Box<Failure>> {
    let key = Key::new(kind::TARGET_GROUP, watched.name.clone());
    let start = Instant::now();
    let deadline = start + time_for(watched);
    let mut pause = options.pace.first.max(SHORTEST_PAUSE);
    let mut told: Option<String> = None;
    let mut last = Look::default();
    let mut before = watched.before.clone();
    let mut rolling = watched
        .rollout
        .as_ref()
        .map_or(Rolling::Done, Rolling::ToBegin);
    let failure = loop {
        let looked = match rolled(cloud, watched, &mut rolling).await {
            Ok(Rolled::Done) => Look::at(cloud, watched).await.map(Ok),
            Ok(Rolled::NotYet(why)) => Ok(Err(why)),
            Ok(Rolled::GivenUp(why)) => {
                last = Look::at(cloud, watched).await.unwrap_or_default();
                let message = format!(
                    "the new version of the service {} was given up: {why}",
                    watched.name
                );
                break diagnose(cloud, watched, &last, message).await;
            }
            Err(error) => Err(error),
        };
        let why = match looked {
            Ok(Err(why)) => why,
            Ok(Ok(look)) => {
                let before = before.get_or_insert_with(|| Before::of(&look.instances, false));
                let verdict = verdict(watched, before, &look);
                last = look;
                match verdict {
                    Verdict::Healthy => {
                        if told.is_some() {
                            let took_ms = millis(start.elapsed());
                            let id = watched.target_group.to_string();
                            options.events.emit(Event::Done {
                                key,
                                verb: Verb::Await,
                                id,
                                took_ms,
                            });
                        }
                        return Ok(last.targets);
                    }
                    Verdict::Hopeless(ended) => {
                        let message = format!(
                            "the service {} does not stay up: {ended} instances ended by themselves, and none became healthy",
                            watched.name
                        );
                        break diagnose(cloud, watched, &last, message).await;
                    }
                    Verdict::NotYet(why) => why,
                }
            }
            Err(error) if error.kind().is_transient() => error.to_string(),
            Err(error) => {
                let doing = format!("cannot find out whether {} is healthy", watched.name);
                break Failure::of(Stage::Health, &doing, error);
            }
        };
        if Instant::now() >= deadline {
            break diagnose(cloud, watched, &last, late(watched, &why)).await;
        }
        if told.is_none() {
            options.events.emit(Event::Started {
                key: key.clone(),
                verb: Verb::Await,
            });
        }
        if told.as_ref() != Some(&why) {
            let id = watched.target_group.to_string();
            options.events.emit(Event::Waiting {
                key: key.clone(),
                id,
                why: why.clone(),
            });
            told = Some(why);
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline.min(Instant::now() + pause)) => {}
            () = options.stop.cancelled() => {
                return Err(Failure::new(
                    Stage::Interrupted,
                    format_args!("interrupted while {} was becoming healthy", watched.name),
                ));
            }
        }
        pause = (pause * 3 / 2).min(options.pace.longest.max(SHORTEST_PAUSE));
    };
    let error = failure.message.clone();
    options.events.emit(Event::Failed {
        key,
        verb: Verb::Await,
        error,
    });
    Err(failure)
}

/// For how long a service is waited for: what the file says, and while old instances are replaced, as long as they may
/// go on answering what they have begun.
fn time_for(watched: &Watched<'_>) -> Duration {
    let service = watched.service;
    let draining = watched
        .rollout
        .as_ref()
        .map_or(0, |_| service.deregistration_delay);
    Duration::from_secs(u64::from(service.health.deadline) + u64::from(draining))
}

/// What one look at a rollout shows.
enum Rolled {
    /// Every instance is of the wanted version, or nothing was to be done.
    Done,
    NotYet(String),
    /// The provider has ended it, or is taking it back.
    GivenUp(String),
}

/// Begins a rollout that has not begun, and looks how far it is.
async fn rolled<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    rolling: &mut Rolling<'_>,
) -> Result<Rolled> {
    if let Rolling::ToBegin(rollout) = rolling {
        let Rollout { template, version } = rollout;
        cloud.roll(&watched.group, template, *version).await?;
        *rolling = Rolling::UnderWay;
    }
    if let Rolling::Done = rolling {
        return Ok(Rolled::Done);
    }
    Ok(match cloud.rolling(&watched.group).await? {
        Probe::Usable(()) => {
            *rolling = Rolling::Done;
            Rolled::Done
        }
        Probe::Failed(why) => Rolled::GivenUp(why),
        Probe::Pending(why) | Probe::Ending(why) => Rolled::NotYet(why),
        Probe::Absent => Rolled::NotYet("its instances are about to be replaced".to_owned()),
    })
}

/// That its time is up, and how far it had come.
fn late(watched: &Watched<'_>, why: &str) -> String {
    format!(
        "the service {} did not become healthy within {} s: {why}",
        watched.name,
        time_for(watched).as_secs()
    )
}

/// A look at a service whose time is up, and what it shows.
pub(crate) async fn diagnose_late<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
) -> Box<Failure> {
    match Look::at(cloud, watched).await {
        Ok(look) => {
            let before = watched.before.clone().unwrap_or_default();
            let why = match verdict(watched, &before, &look) {
                Verdict::NotYet(why) => why,
                Verdict::Healthy | Verdict::Hopeless(_) => {
                    "its autoscaling group is not done".to_owned()
                }
            };
            diagnose(cloud, watched, &look, late(watched, &why)).await
        }
        Err(error) => {
            let message = late(watched, "how it is cannot be found out");
            Failure::of(Stage::Health, &message, error)
        }
    }
}

/// Tells who is not healthy, what is likely behind it, and what they wrote last.
pub(crate) async fn diagnose<P: Cloud + ?Sized>(
    cloud: &P,
    watched: &Watched<'_>,
    look: &Look,
    message: String,
) -> Box<Failure> {
    let mut failure = Failure::new(Stage::Health, message);
    failure.targets = sick(watched, look);
    for sick in &failure.targets {
        let id = InstanceId::from(sick.id.clone());
        // Why the service is not healthy is told already; without its output that is less, and still true.
        let output = Patience::default().answer(cloud.last_output(&id, QUOTED));
        let output = output.await.unwrap_or_default();
        if !output.is_empty() {
            failure.output = output;
            break;
        }
    }
    if failure.targets.is_empty() && look.instances.is_empty() {
        failure.hint = Some(
            "no instance was launched in time; see what the provider says of the autoscaling group"
                .to_owned(),
        );
    }
    failure
}

/// The instances that are not healthy: those that ended by themselves first, since they tell the most.
fn sick(watched: &Watched<'_>, look: &Look) -> Vec<Sick> {
    let service = watched.name.to_string();
    let known = watched
        .before
        .as_ref()
        .map(|before| before.failed.clone())
        .unwrap_or_default();
    let ended = look
        .instances
        .iter()
        .filter_map(|instance| match &instance.state {
            InstanceState::Failed(how) if !known.contains(&instance.id) => Some(Sick {
                service: service.clone(),
                id: instance.id.to_string(),
                zone: Some(instance.zone.clone()),
                state: "failed".to_owned(),
                reason: None,
                seen: Some(how.clone()),
                likely: Some("the service ended by itself; its last output says why".to_owned()),
            }),
            _ => None,
        });
    let unhealthy = look
        .targets
        .iter()
        .filter(|target| target.state != TargetState::Healthy);
    let unhealthy = unhealthy.map(|target| Sick {
        service: service.clone(),
        id: target.id.clone(),
        zone: target.zone.clone(),
        state: target.state.to_string(),
        reason: target.reason,
        seen: target.description.clone(),
        likely: target
            .reason
            .and_then(|reason| likely(reason, watched.service)),
    });
    let mut told = BTreeSet::new();
    ended
        .chain(unhealthy)
        .filter(|sick| told.insert(sick.id.clone()))
        .collect()
}

/// What is most often behind a reason, in the words of the file.
fn likely(reason: HealthReason, service: &Service) -> Option<String> {
    let (port, health) = (service.port, &service.health);
    Some(match reason {
        HealthReason::Timeout => format!(
            "nothing answers on port {port} within {} s: the service is too slow or hangs, or a security group is in the way",
            health.timeout
        ),
        HealthReason::FailedHealthChecks => format!(
            "nothing speaks HTTP on port {port}: the service listens on another port (it is told the right one in PORT), \
             or only on 127.0.0.1 instead of 0.0.0.0"
        ),
        HealthReason::ResponseCodeMismatch => format!(
            "GET {} does not answer with {}: see `path` and `matcher` in the service's `health`",
            health.path, health.matcher
        ),
        HealthReason::RegistrationInProgress | HealthReason::InitialHealthChecking => {
            "it was still being started or checked: a longer `deadline` may be all it needs"
                .to_owned()
        }
        HealthReason::InvalidState => "the instance does not run".to_owned(),
        HealthReason::NotInUse => "no listener leads to its target group".to_owned(),
        HealthReason::InternalError => "the balancer has an error of its own: try again".to_owned(),
        HealthReason::NotRegistered | HealthReason::DeregistrationInProgress => return None,
    })
}
