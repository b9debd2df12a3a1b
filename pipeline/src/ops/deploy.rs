//! Deploy: changes the provider's resources to the desired state, and waits until the services are healthy.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_compute::{AutoscalingGroupOutput, GroupInstance, LaunchTemplateOutput, ReleaseNote};
use landfall_lb::{Listener, ListenerOutput, LoadBalancer, LoadBalancerOutput, TargetHealth};
use landfall_provider::{
    Action, Applied, ApplyOptions, AutoscalingGroupId, Error, ErrorKind, Event, Events, InstanceId,
    Key, Kind, LaunchTemplateId, Operation, Plan, Resource, ResourceName, Snapshot, TargetGroupId,
    kind,
};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::commit;
use crate::cloud::Cloud;
use crate::config::{Config, Mode};
use crate::health::single::{self, ServingTarget};
use crate::health::{self, Baseline, Rollout, Watched};
use crate::outcome::{Changes, Deployed, Failure, PostFailureState, Stage, millis};
use crate::review::Review;
use crate::run::{Cleared, Options, Run, count};
use crate::stack::routes;
use crate::validate::ValidatedStack;

/// Changes the provider's resources to the desired state, and waits until the services are healthy.
///
/// The steps: the reachability check; the stack's lock; the `before` commands and the hashes of the
/// build contexts, in parallel with the listing of resources; the plan, and its comparison with a saved one; the
/// provider's preflight; a confirmation of irreversible changes; the plan is applied; instances of an old version are
/// replaced, until the desired number of targets is healthy and no old one is left. After the stop token is
/// cancelled, no new operation starts.
///
/// # Errors
/// A [`Failure`] with the state of the stack. A failed first deploy deletes its resources
/// again, unless the options keep them or the run was stopped. A service whose new version does not become
/// healthy is rolled back.
pub async fn deploy<P: Cloud + ?Sized>(
    cloud: &P,
    config: &Config,
    options: &Options,
) -> Result<Deployed, Box<Failure>> {
    let run = Run::new(cloud, &config.stack, options);
    if let Some(saved) = &options.saved {
        saved.check_stack(&config.stack)?;
    }
    let stack = run.validate(config)?;
    run.check_reachability(&stack)?;
    run.locked("deploy", while_locked(&run, &stack)).await
}

/// The part of a deploy with the lock.
async fn while_locked<P: Cloud + ?Sized>(
    run: &Run<'_, P>,
    stack: &ValidatedStack<'_>,
) -> Result<Deployed, Box<Failure>> {
    let started = Instant::now();
    let config = stack.config();
    let (planned, commit) = futures::join!(run.prepare(stack), commit::of(&config.directory));
    let planned = planned?;
    if run.is_stopped() {
        return Err(Failure::interrupted());
    }
    if let Some(saved) = &run.options.saved {
        saved.check(&planned.save(), run.catalog.schema())?;
    }
    let planned = planned.feasible()?;
    run.check_protected(config, &planned.review)?;
    if !planned.review.losses.is_empty() {
        run.confirmation("deploy", &planned.review).await?;
    }
    run.cloud.note_releases(ReleaseNote {
        who: run.options.who.clone(),
        commit,
        back_to: None,
    });
    let deploy = Deploy {
        run,
        config,
        plan: planned.plan,
        review: planned.review,
        snapshot: planned.live,
    };
    let (applied, answers) = deploy.carry_out().await?;
    run.record_sources(&planned.same_images).await;
    match deploy.deployed(&applied, answers, started.elapsed()) {
        Ok(deployed) => Ok(deployed),
        Err(failure) => Err(deploy.give_up(failure).await),
    }
}

/// The serving targets.
enum Endpoints {
    /// The targets of the load balancer.
    Balanced(Vec<(ResourceName, TargetHealth)>),
    /// The single instance.
    Single(ServingTarget),
}

/// A planned deploy.
struct Deploy<'a, P: Cloud + ?Sized> {
    run: &'a Run<'a, P>,
    config: &'a Config,
    plan: Plan,
    review: Review,
    /// The previous state.
    snapshot: Snapshot,
}

impl<P: Cloud + ?Sized> Deploy<'_, P> {
    /// Applies the plan and waits for health. A failure is undone, or the remaining resources are listed.
    async fn carry_out(&self) -> Result<(Applied, Endpoints), Box<Failure>> {
        let before = match self.plan.is_empty() {
            true => None,
            false => {
                let doing = "cannot list the instances that there are";
                let before = self.instances_before();
                Some(self.run.ask(Stage::Look, doing, before).await?)
            }
        };
        let clock = GroupClock::new();
        let (applied, late) = self.apply(&clock).await;
        let ids = |key: &Key| applied.ready.get(key).map(|ready| ready.id.clone());
        let failure = if applied.is_complete() && self.config.mode == Mode::Single {
            match self.single(&applied).await {
                Ok(answering) => return Ok((applied, Endpoints::Single(answering))),
                Err(failure) => failure,
            }
        } else if applied.is_complete() {
            let mut watched = self.watched(before.as_ref(), ids);
            for one in &mut watched {
                one.rollout = rollout(&applied, one.name);
            }
            let options = &self.run.options.apply;
            match health::wait(self.run.cloud, &watched, options).await {
                Ok(targets) => return Ok((applied, Endpoints::Balanced(targets))),
                Err(failure) => failure,
            }
        } else {
            self.incomplete(applied, before.as_ref(), late).await
        };
        Err(self.give_up(failure).await)
    }

    /// Waits until the single instance answers.
    async fn single(&self, applied: &Applied) -> Result<ServingTarget, Box<Failure>> {
        let mut ready = applied.ready.iter();
        let instance = ready.find(|(key, _)| key.kind == kind::INSTANCE);
        let Some((_, instance)) = instance else {
            let why = "there is no instance to wait for";
            return Err(Failure::new(Stage::Health, why));
        };
        let id = InstanceId::from(instance.id.clone());
        single::wait(self.run.cloud, self.config, &id, &self.run.options.apply).await
    }

    /// Applies the plan. The wait for a group ends at its service's deadline; the
    /// second value is that group.
    async fn apply(&self, clock: &GroupClock) -> (Applied, Option<Key>) {
        let options = &self.run.options.apply;
        let deadline = |key: &Key| {
            let service = self.config.service.get(&key.name)?;
            Some(Duration::from_secs(service.health.deadline.into()))
        };
        let options = ApplyOptions {
            events: clock.listen(&options.events),
            stop: options.stop.child_token(),
            ..options.clone()
        };
        let applying = self.run.apply(&self.plan, &options);
        tokio::pin!(applying);
        tokio::select! {
            applied = &mut applying => (applied, None),
            group = clock.expired(deadline) => {
                options.stop.cancel();
                (applying.await, (!self.run.is_stopped()).then_some(group))
            }
        }
    }

    /// The instances before the change, by service.
    async fn instances_before(&self) -> Result<Vec<(ResourceName, Baseline)>, Error> {
        let mut all = Vec::new();
        for name in self.config.service.keys() {
            let group = self
                .snapshot
                .get(&Key::new(kind::AUTOSCALING_GROUP, name.clone()));
            let instances: Vec<GroupInstance> = match group {
                Some(group) => {
                    let id = AutoscalingGroupId::from(group.id.clone());
                    self.run.cloud.group_instances(&id).await?
                }
                None => Vec::new(),
            };
            let template = Key::new(kind::LAUNCH_TEMPLATE, name.clone());
            let changes =
                self.plan.steps.iter().any(|step| {
                    step.key == template && matches!(step.action, Action::Update { .. })
                });
            all.push((name.clone(), Baseline::of(&instances, changes)));
        }
        Ok(all)
    }

    /// The services with an existing target group and autoscaling group.
    fn watched(
        &self,
        before: Option<&Vec<(ResourceName, Baseline)>>,
        ids: impl Fn(&Key) -> Option<String>,
    ) -> Vec<Watched<'_>> {
        let id = |kind: Kind, name: &ResourceName| ids(&Key::new(kind, name.clone()));
        let services = self.config.service.iter().filter_map(|(name, service)| {
            let known = |all: &Vec<(ResourceName, Baseline)>| {
                let of = all.iter().find(|(service, _)| service == name);
                of.map(|(_, before)| before.clone())
            };
            Some(Watched {
                name,
                service,
                target_group: TargetGroupId::from(id(kind::TARGET_GROUP, name)?),
                group: AutoscalingGroupId::from(id(kind::AUTOSCALING_GROUP, name)?),
                before: before.and_then(known),
                rollout: None,
            })
        });
        services.collect()
    }

    /// The failure of an incomplete plan. If a group failed, its instances are diagnosed.
    async fn incomplete(
        &self,
        applied: Applied,
        before: Option<&Vec<(ResourceName, Baseline)>>,
        late: Option<Key>,
    ) -> Box<Failure> {
        let done = applied.ready.len() + applied.deleted.len();
        let steps = self.plan.steps.len();
        if applied.failed.is_empty() && late.is_none() {
            let message = format!("interrupted: {done} of {} are done", count(steps, "step"));
            return Failure::new(Stage::Interrupted, message).undone(applied);
        }
        let groups: Vec<&ResourceName> = late
            .iter()
            .chain(applied.failed.iter().map(|(key, _)| key))
            .filter(|key| key.kind == kind::AUTOSCALING_GROUP)
            .map(|key| &key.name)
            .collect();
        let sick = self.sick_group(&groups, before, late.is_some()).await;
        let failed = applied.failed.len();
        let mut message = format!("{failed} of {} failed", count(steps, "step"));
        if !applied.not_started.is_empty() {
            message.push_str(&format!(", {} not started", applied.not_started.len()));
        }
        let Some(failure) = sick else {
            return Failure::new(Stage::Apply, message).undone(applied);
        };
        let shown = Key::new(kind::AUTOSCALING_GROUP, groups[0].clone());
        let mut applied = applied;
        if !failure.targets.is_empty() {
            // The group's error repeats the diagnosis of its instances.
            applied.failed.retain(|(key, _)| *key != shown);
        }
        failure.undone(applied)
    }

    /// The diagnosis of the first of these groups.
    async fn sick_group(
        &self,
        groups: &[&ResourceName],
        before: Option<&Vec<(ResourceName, Baseline)>>,
        is_late: bool,
    ) -> Option<Box<Failure>> {
        let name = groups.first()?;
        // Failed groups have no outputs: the listing has their ids.
        let now = self.run.look().await.ok()?;
        let watched = self.watched(before, |key| now.get(key).map(|found| found.id.clone()));
        let watched = watched.iter().find(|watched| watched.name == *name)?;
        Some(health::diagnose_group(self.run.cloud, watched, is_late).await)
    }

    /// Undoes a first deploy, or lists the remaining resources.
    async fn give_up(&self, mut failure: Box<Failure>) -> Box<Failure> {
        if matches!(failure.remains, PostFailureState::RolledBackServices { .. }) {
            return failure;
        }
        let was_first = self.run.bound(&self.snapshot).is_empty();
        if was_first && !self.run.options.keep_failed && !self.run.is_stopped() {
            self.run.options.on_failure.announce(&mut failure);
            match self.undo().await {
                Ok(cleared) if self.run.bound(&cleared.after).is_empty() => {
                    failure.on_its_way.clear();
                    failure.remains = PostFailureState::RolledBack {
                        deleted: cleared.applied.deleted,
                    };
                    return failure;
                }
                Ok(cleared) => failure
                    .errors
                    .extend(cleared.applied.failed.into_iter().map(|(_, error)| error)),
                Err(more) => failure.errors.extend(more.errors),
            }
        }
        let next = "`deploy` continues from here, `destroy` deletes everything";
        failure.remains = self.run.remains(next).await;
        failure
    }

    /// Deletes the resources of a first deploy.
    async fn undo(&self) -> Result<Cleared, Box<Failure>> {
        let unprotected = self
            .run
            .options
            .request_timeout
            .answer(self.run.unprotect());
        unprotected
            .await
            .map_err(|error| Failure::of(Stage::Apply, "cannot take the protection off", error))?;
        let live = self.run.look().await?;
        self.run.clear(self.run.clearing(&live)?).await
    }

    fn deployed(
        &self,
        applied: &Applied,
        answers: Endpoints,
        took: Duration,
    ) -> Result<Deployed, Box<Failure>> {
        let (url, dns_name, targets) = match answers {
            Endpoints::Balanced(targets) => {
                let serving = self.config.load_balancer.serving_listener();
                let listener: ListenerOutput = output::<Listener, _>(applied, serving)?;
                let balancer: LoadBalancerOutput = output::<LoadBalancer, _>(applied, "main")?;
                (listener.url, balancer.dns_name, targets)
            }
            Endpoints::Single(ServingTarget { url, host, target }) => {
                let mut names = self.config.service.keys().cloned();
                let target = names.next().map(|name| (name, target));
                (url, host, target.into_iter().collect())
            }
        };
        let services = targets
            .iter()
            .map(|(service, target)| (target.id.clone(), service.clone()))
            .collect();
        let image = routes::fallback(self.config).and_then(|name| {
            let key = Key::new(kind::IMAGE, name.clone());
            applied.ready.get(&key).map(|image| image.id.clone())
        });
        Ok(Deployed {
            stack: self.config.stack.clone(),
            url,
            dns_name,
            targets: targets.into_iter().map(|(_, target)| target).collect(),
            services,
            image: image.unwrap_or_default(),
            changes: Changes::of(&self.review),
            duration_ms: millis(took),
        })
    }
}

/// The version to roll out in a service, unless all instances have it.
fn rollout(applied: &Applied, service: &ResourceName) -> Option<Rollout> {
    let ready = |kind: Kind| applied.ready.get(&Key::new(kind, service.clone()));
    let (template, group) = (
        ready(kind::LAUNCH_TEMPLATE)?,
        ready(kind::AUTOSCALING_GROUP)?,
    );
    let newest = LaunchTemplateOutput::deserialize(&template.output).ok()?;
    let oldest = AutoscalingGroupOutput::deserialize(&group.output).ok()?;
    (oldest.version != newest.version).then(|| Rollout {
        template: LaunchTemplateId::from(template.id.clone()),
        version: newest.version,
    })
}

/// The output of a ready resource.
fn output<R: Resource, T: DeserializeOwned>(
    applied: &Applied,
    name: &str,
) -> Result<T, Box<Failure>> {
    let key = Key::new(R::KIND, ResourceName::new(name).expect("a literal name"));
    let output = applied
        .ready
        .get(&key)
        .map(|ready| T::deserialize(&ready.output));
    match output {
        Some(Ok(output)) => Ok(output),
        other => {
            let error = Error::new(ErrorKind::Other, "the provider returned no outputs for it");
            let error = match other {
                Some(Err(spec_mismatch)) => error.caused_by(spec_mismatch),
                _ => error,
            };
            Err(Failure::of(
                Stage::Apply,
                &format!("{key} exists, and its address is unknown"),
                error,
            ))
        }
    }
}

/// Records from the engine's events since when each autoscaling group is being created or changed.
struct GroupClock(watch::Sender<BTreeMap<Key, Instant>>);

impl GroupClock {
    fn new() -> Self {
        Self(watch::Sender::default())
    }

    /// A listener that also records.
    fn listen(&self, events: &Events) -> Events {
        let (began, events) = (self.0.clone(), events.clone());
        Events::to(move |event| {
            match &event {
                Event::Started { key, verb }
                    if key.kind == kind::AUTOSCALING_GROUP && *verb != Operation::Delete =>
                {
                    began.send_modify(|began| {
                        began.insert(key.clone(), Instant::now());
                    });
                }
                Event::Done { key, .. } | Event::Failed { key, .. }
                    if key.kind == kind::AUTOSCALING_GROUP =>
                {
                    began.send_modify(|began| {
                        began.remove(key);
                    });
                }
                _ => {}
            }
            events.emit(event);
        })
    }

    /// Returns the first group that misses its deadline.
    async fn expired(&self, deadline: impl Fn(&Key) -> Option<Duration>) -> Key {
        let mut began = self.0.subscribe();
        loop {
            let first = began
                .borrow_and_update()
                .iter()
                .filter_map(|(key, since)| Some((*since + deadline(key)?, key.clone())))
                .min();
            let expires = async {
                match first {
                    Some((at, key)) => {
                        tokio::time::sleep_until(at).await;
                        key
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                key = expires => return key,
                // The sender lives as long as this value.
                _ = began.changed() => {}
            }
        }
    }
}
