//! A cloud for tests: the simulation holds the resources, a script says how the instances are.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use landfall_compute::{
    AutoscalingGroup, ComputeProvider, GroupCapacity, GroupInstance, HostKey, InstanceState,
    Release, ReleaseNote, Scaling, SingleInstance, SingleProvider,
};
use landfall_container::{Digest, Image, PrebuildImage};
use landfall_lb::{HealthReason, LbProvider, TargetHealth, TargetState};
use landfall_pipeline::{Config, Options};
use landfall_provider::{
    ApplyOptions, Attempt, AutoscalingGroupId, Error, ErrorKind, Event, Events, Holder, InstanceId,
    Key, LaunchTemplateId, Live, LockGuard, Plan, PollInterval, Port, Preflight, Probe, Provider,
    ProviderIdentity, Resource, Result, StackLock, StackName, TargetGroupId, Zone, kind,
};
use landfall_testkit::sim::Sim;
use serde::Deserialize as _;
use serde_json::json;
use tokio::time::Instant;

/// One instance at one moment: its template's version and how it is.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) id: &'static str,
    pub(crate) version: u32,
    pub(crate) state: How,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Healthy,
    UnhealthyTarget(HealthReason, &'static str),
    Ended(&'static str),
}

pub(crate) fn seen(id: &'static str, version: u32, state: How) -> Seen {
    Seen { id, version, state }
}

/// Two instances that are healthy from the first look on.
pub(crate) fn healthy(_: Duration) -> Vec<Seen> {
    vec![seen("i-1", 1, How::Healthy), seen("i-2", 1, How::Healthy)]
}

type Script = dyn Fn(&Sim, Duration) -> Vec<Seen> + Send + Sync;

pub(crate) struct Fake {
    pub(crate) sim: Arc<Sim>,
    /// How the instances are, by the time since the first look.
    script: Mutex<Box<Script>>,
    first_look: Mutex<Option<Instant>>,
    pub(crate) looks: Mutex<usize>,
    pub(crate) rollouts: Arc<Mutex<Rollouts>>,
    /// How many instances groups were scaled to.
    pub(crate) scaled: Mutex<BTreeMap<AutoscalingGroupId, u32>>,
    /// The digest that every build context is built to; without one, each has its own.
    pub(crate) builds_to: Mutex<Option<Digest>>,
    /// Whether builds fail.
    pub(crate) build_fails: Mutex<bool>,
    /// The sources that were recorded for an image that there was already.
    pub(crate) recorded: Mutex<Vec<Image>>,
    locked: Arc<Mutex<Option<Holder>>>,
    pub(crate) findings: Mutex<Vec<Error>>,
    pub(crate) place: Mutex<String>,
    /// The question that is never answered, if any.
    pub(crate) silent: Mutex<Option<&'static str>>,
}

/// How the replacing of old instances goes.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    /// The template's newest version, if it is not the one that every instance runs.
    pub(crate) newest: Option<u32>,
    /// What stands in the way of beginning, one after the other.
    pub(crate) refusals: VecDeque<Error>,
    /// How it is, look by look; at the end it is done.
    pub(crate) course: VecDeque<Probe<()>>,
    /// The versions that were asked for.
    pub(crate) asked: Vec<u32>,
    /// How it is once it is taken back, look by look.
    pub(crate) way_back: VecDeque<Probe<()>>,
    /// Why it was taken back.
    pub(crate) taken_back: Vec<String>,
    pub(crate) notes: Vec<ReleaseNote>,
    pub(crate) releases: Vec<Release>,
}

impl Fake {
    pub(crate) fn new(script: impl Fn(Duration) -> Vec<Seen> + Send + Sync + 'static) -> Self {
        Self::on(Sim::new(), script)
    }

    /// On a simulation with times and failures of its own.
    pub(crate) fn on(
        sim: Sim,
        script: impl Fn(Duration) -> Vec<Seen> + Send + Sync + 'static,
    ) -> Self {
        Self::watching(sim, move |_, since| script(since))
    }

    /// Where the instances are as the simulation has them.
    pub(crate) fn watching(
        sim: Sim,
        script: impl Fn(&Sim, Duration) -> Vec<Seen> + Send + Sync + 'static,
    ) -> Self {
        Self {
            sim: Arc::new(sim.outputs()),
            script: Mutex::new(Box::new(script)),
            first_look: Mutex::default(),
            looks: Mutex::default(),
            rollouts: Arc::default(),
            scaled: Mutex::default(),
            builds_to: Mutex::default(),
            build_fails: Mutex::default(),
            recorded: Mutex::default(),
            locked: Arc::default(),
            findings: Mutex::default(),
            place: Mutex::new("a simulation".to_owned()),
            silent: Mutex::default(),
        }
    }

    /// From now on the instances are like this.
    pub(crate) fn now(&self, script: impl Fn(Duration) -> Vec<Seen> + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Box::new(move |_, since| script(since));
        *self.first_look.lock().unwrap() = None;
        *self.looks.lock().unwrap() = 0;
    }

    /// Never returns where this question is not answered.
    async fn answers(&self, question: &str) {
        if *self.silent.lock().unwrap() == Some(question) {
            std::future::pending().await
        }
    }

    fn seen(&self) -> Vec<Seen> {
        let first = *self
            .first_look
            .lock()
            .unwrap()
            .get_or_insert_with(Instant::now);
        let mut seen = (self.script.lock().unwrap())(&self.sim, first.elapsed());
        let rollouts = self.rollouts.lock().unwrap();
        let is_back = !matches!(
            rollouts.course.front(),
            Some(Probe::Pending(_) | Probe::Ending(_))
        );
        if !rollouts.taken_back.is_empty() && is_back {
            // What was taken back is gone by then.
            seen.retain(|seen| Some(&seen.version) != rollouts.asked.last());
        }
        seen
    }

    /// The same, of a launch template with the version that the script gives it, and of a group with the version that
    /// it was brought to.
    fn of_its_version<R: Resource>(&self, probe: Probe<R::Output>) -> Probe<R::Output> {
        let rollouts = self.rollouts.lock().unwrap();
        let is_done = rollouts.course.is_empty() && rollouts.taken_back.is_empty();
        let version = if R::KIND == kind::LAUNCH_TEMPLATE {
            rollouts.newest
        } else if R::KIND == kind::AUTOSCALING_GROUP && is_done {
            rollouts.asked.last().copied()
        } else {
            None
        };
        match (probe, version) {
            (Probe::Usable(_), Some(version)) => {
                Probe::Usable(R::Output::deserialize(json!({ "version": version })).unwrap())
            }
            (probe, _) => probe,
        }
    }

    /// What a group was made of.
    fn group(&self, id: &AutoscalingGroupId) -> Option<AutoscalingGroup> {
        let spec = self.sim.spec(id.as_ref())?;
        Some(serde_json::from_value(spec).unwrap())
    }

    /// The calls that had an effect, and what they were for.
    pub(crate) fn effects(&self) -> Vec<String> {
        let verbs = ["create", "update", "delete"];
        let calls = self.sim.calls().into_iter();
        calls
            .filter(|call| verbs.contains(&call.verb))
            .map(|call| format!("{} {}", call.verb, call.what))
            .collect()
    }

    /// The keys of all that there is.
    pub(crate) fn held(&self) -> Vec<String> {
        let mut held: Vec<_> = self
            .sim
            .held()
            .into_iter()
            .map(|(key, _)| key.to_string())
            .collect();
        held.sort();
        held
    }
}

fn zone(index: usize) -> Zone {
    Zone::new(["local-1a", "local-1b"][index % 2]).unwrap()
}

#[async_trait]
impl<R: Resource> Provider<R> for Fake {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<R>>> {
        self.answers("list").await;
        let mut listed: Vec<Live<R>> = self.sim.list(stack).await?;
        for live in &mut listed {
            live.state = self.of_its_version::<R>(live.state.clone());
        }
        Ok(listed)
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &R) -> Result<R::Id> {
        self.sim.create(stack, key, desired).await
    }

    async fn update(&self, live: &Live<R>, desired: &R) -> Result<()> {
        self.sim.update(live, desired).await
    }

    async fn probe(&self, id: &R::Id) -> Result<Probe<R::Output>> {
        let probe = <Sim as Provider<R>>::probe(&self.sim, id).await?;
        Ok(self.of_its_version::<R>(probe))
    }

    async fn delete(&self, live: &Live<R>) -> Result<()> {
        self.sim.delete(live).await
    }
}

#[async_trait]
impl PrebuildImage for Fake {
    async fn prebuild(&self, _: &Key, desired: &Image) -> Result<Digest> {
        if *self.build_fails.lock().unwrap() {
            return Err(Error::new(ErrorKind::Other, "the image was not built"));
        }
        let builds_to = self.builds_to.lock().unwrap().clone();
        Ok(builds_to.unwrap_or_else(|| format!("sha256:{}", desired.source).parse().unwrap()))
    }

    async fn record_source(&self, _: &StackName, _: &Key, desired: &Image) -> Result<()> {
        self.recorded.lock().unwrap().push(desired.clone());
        Ok(())
    }
}

#[async_trait]
impl LbProvider for Fake {
    async fn target_health(&self, _: &TargetGroupId) -> Result<Vec<TargetHealth>> {
        self.answers("target_health").await;
        self.sim.aside("target-health", || ()).await;
        *self.looks.lock().unwrap() += 1;
        let targets = self
            .seen()
            .into_iter()
            .enumerate()
            .filter_map(|(index, seen)| {
                let (state, reason, description) = match seen.state {
                    How::Healthy => (TargetState::Healthy, None, None),
                    How::UnhealthyTarget(HealthReason::InitialHealthChecking, _) => (
                        TargetState::Initial,
                        Some(HealthReason::InitialHealthChecking),
                        None,
                    ),
                    How::UnhealthyTarget(reason, what) => {
                        (TargetState::Unhealthy, Some(reason), Some(what.to_owned()))
                    }
                    How::Ended(_) => return None,
                };
                Some(TargetHealth {
                    id: seen.id.to_owned(),
                    address: format!("10.0.0.{}:8000", 10 + index).parse().ok(),
                    zone: Some(zone(index)),
                    state,
                    reason,
                    description,
                    since: None,
                })
            });
        Ok(targets.collect())
    }
}

#[async_trait]
impl ComputeProvider for Fake {
    async fn group_instances(&self, _: &AutoscalingGroupId) -> Result<Vec<GroupInstance>> {
        self.answers("group_instances").await;
        self.sim.aside("group-instances", || ()).await;
        let instances = self
            .seen()
            .into_iter()
            .enumerate()
            .map(|(index, seen)| GroupInstance {
                id: InstanceId::from(seen.id),
                zone: zone(index),
                private_address: format!("10.0.0.{}", 10 + index).parse().unwrap(),
                state: match seen.state {
                    How::Ended(how) => InstanceState::Failed(how.to_owned()),
                    How::Healthy | How::UnhealthyTarget(..) => InstanceState::Running,
                },
                template_version: seen.version,
                ended: None,
            });
        Ok(instances.collect())
    }

    async fn roll(&self, _: &AutoscalingGroupId, _: &LaunchTemplateId, version: u32) -> Result<()> {
        let asked = || {
            let mut rollouts = self.rollouts.lock().unwrap();
            rollouts.asked.push(version);
            rollouts.refusals.pop_front().map_or(Ok(()), Err)
        };
        self.sim.aside("roll", asked).await
    }

    async fn roll_back(&self, _: &AutoscalingGroupId, why: &str) -> Result<()> {
        let taken_back = || {
            let mut rollouts = self.rollouts.lock().unwrap();
            rollouts.taken_back.push(why.to_owned());
            rollouts.course = std::mem::take(&mut rollouts.way_back);
        };
        self.sim.aside("roll-back", taken_back).await;
        Ok(())
    }

    async fn rolling(&self, _: &AutoscalingGroupId) -> Result<Probe<()>> {
        self.sim.aside("rolling", || ()).await;
        let course = &mut self.rollouts.lock().unwrap().course;
        Ok(match course.len() {
            0 => Probe::Usable(()),
            // What it came to stays so.
            1 if !matches!(course[0], Probe::Pending(_)) => course[0].clone(),
            _ => course.pop_front().unwrap(),
        })
    }

    fn note_releases(&self, note: ReleaseNote) {
        self.rollouts.lock().unwrap().notes.push(note);
    }

    async fn releases(&self, _: &LaunchTemplateId, _: &AutoscalingGroupId) -> Result<Vec<Release>> {
        Ok(self.rollouts.lock().unwrap().releases.clone())
    }

    async fn capacity(&self, group: &AutoscalingGroupId) -> Result<GroupCapacity> {
        let spec = self.group(group).ok_or_else(|| {
            let why = format!("the autoscaling-group `{group}` does not exist");
            Error::new(ErrorKind::NotFound, why)
        })?;
        let scaled = self.scaled.lock().unwrap().get(group).copied();
        Ok(GroupCapacity {
            min: spec.min,
            desired: scaled.unwrap_or(spec.desired),
            max: spec.max,
        })
    }

    async fn scale(&self, group: &AutoscalingGroupId, desired: u32) -> Result<()> {
        self.scaled.lock().unwrap().insert(group.clone(), desired);
        Ok(())
    }

    async fn last_scaling(&self, _: &AutoscalingGroupId) -> Result<Option<Scaling>> {
        Ok(None)
    }

    async fn last_output(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>> {
        assert_eq!(lines, 20);
        Ok(vec![
            format!("{instance}: starting"),
            format!("{instance}: no database"),
        ])
    }

    async fn host_keys(&self, _: &InstanceId) -> Result<Vec<HostKey>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl SingleProvider for Fake {
    async fn standing(&self, _: &InstanceId, _: Port) -> Result<Option<SingleInstance>> {
        Ok(None)
    }

    async fn stop(&self, _: &InstanceId) -> Result<()> {
        Ok(())
    }

    async fn start(&self, _: &InstanceId) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl StackLock for Fake {
    async fn lock(&self, _: &StackName, holder: &Holder) -> Result<Attempt> {
        self.answers("lock").await;
        let taken = || {
            let mut locked = self.locked.lock().unwrap();
            match &*locked {
                Some(other) => Err(other.clone()),
                None => {
                    *locked = Some(holder.clone());
                    Ok(())
                }
            }
        };
        if let Err(other) = self.sim.aside("lock", taken).await {
            return Ok(Attempt::Busy(other));
        }
        // It takes a call to end it, as on AWS: a run that dies leaves it.
        let (sim, locked) = (Arc::clone(&self.sim), Arc::clone(&self.locked));
        Ok(Attempt::Taken(LockGuard::with_release(async move {
            sim.aside("unlock", || *locked.lock().unwrap() = None).await;
            Ok(())
        })))
    }

    async fn holder(&self, _: &StackName) -> Result<Option<Holder>> {
        Ok(self.locked.lock().unwrap().clone())
    }

    async fn break_lock(&self, _: &StackName, holder: &Holder) -> Result<()> {
        let mut locked = self.locked.lock().unwrap();
        if locked.as_ref() == Some(holder) {
            *locked = None;
        }
        Ok(())
    }
}

#[async_trait]
impl Preflight for Fake {
    async fn preflight(&self, _: &Plan) -> Result<Vec<Error>> {
        self.answers("preflight").await;
        Ok(std::mem::take(&mut self.findings.lock().unwrap()))
    }
}

#[async_trait]
impl ProviderIdentity for Fake {
    async fn provider_identity(&self) -> Result<String> {
        self.answers("place").await;
        Ok(self.place.lock().unwrap().clone())
    }
}

/// A service in a directory of its own, which is gone with this value.
pub(crate) struct App {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) options: Options,
}

impl App {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let options = Options {
            apply: ApplyOptions {
                events: Events::to(move |event| heard.lock().unwrap().push(event)),
                poll_interval: PollInterval::LOCAL,
                ..ApplyOptions::default()
            },
            who: "ana@build-3".to_owned(),
            ..Options::default()
        };
        Self {
            directory,
            events,
            options,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration with further keys of the service.
    pub(crate) fn config(&self, keys: &str) -> Config {
        let file = self.path().join("landfall.toml");
        let source = format!("stack = 'digipay'\n[service.web]\nport = 8000\n{keys}\n");
        Config::parse(&source, file.to_str().unwrap()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// What was told of a key, as lines.
    pub(crate) fn reported(&self, of: &str) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let lines = events.iter().filter_map(|event| match event {
            Event::Started { key, verb } if key.to_string() == of => Some(format!("{verb}")),
            Event::Waiting { key, why, .. } if key.to_string() == of => Some(why.clone()),
            Event::Output { key, line } if key.to_string() == of => Some(format!("| {line}")),
            Event::Done { key, .. } if key.to_string() == of => Some("done".to_owned()),
            Event::Failed { key, error, .. } if key.to_string() == of => {
                Some(format!("failed: {error}"))
            }
            _ => None,
        });
        lines.collect()
    }
}
