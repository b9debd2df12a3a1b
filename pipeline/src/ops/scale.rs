//! Scale: sets the desired capacity of services, without a change of the file.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use landfall_compute::{AutoscalingGroup, GroupCapacity, Metric, ScalingPolicy};
use landfall_lb::{TargetGroup, TargetHealth};
use landfall_provider::{Error, Key, Live, Provider, ResourceName, StackName, kind};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::single::needs_groups;
use crate::cloud::Cloud;
use crate::config::{self, Health, Service};
use crate::health::{self, Watched};
use crate::outcome::{Failure, PostFailureState, Stage, millis};
use crate::run::{Options, Run};
use crate::stack::AFTER_DEADLINE;

/// The result of scaling.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scaled {
    /// The stack.
    pub stack: StackName,
    /// Each service, by name.
    pub services: Vec<ScaledService>,
    /// The duration until all instances were healthy, in milliseconds.
    pub duration_ms: u64,
}

/// A scaled service.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledService {
    /// The stack's name.
    pub name: ResourceName,
    /// The previous desired capacity.
    pub before: u32,
    /// The limits and the desired capacity.
    pub capacity: GroupCapacity,
    /// The metrics of its policies, which may change the capacity again.
    pub policies: Vec<Metric>,
    /// Its targets, by zone and id.
    pub targets: Vec<TargetHealth>,
}

/// One row per service, with its limits.
impl Serialize for ScaledService {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("ScaledService", 7)?;
        row.serialize_field("name", &self.name)?;
        row.serialize_field("before", &self.before)?;
        row.serialize_field("min", &self.capacity.min)?;
        row.serialize_field("desired", &self.capacity.desired)?;
        row.serialize_field("max", &self.capacity.max)?;
        row.serialize_field("policies", &self.policies)?;
        row.serialize_field("targets", &self.targets)?;
        row.end()
    }
}

/// Sets the desired capacity of services, and waits until that number is healthy and no other instance runs.
/// `None` if the stack does not exist.
///
/// The file's `desired` is the initial value: a deploy keeps the scaled capacity until the file's
/// `desired` changes.
///
/// # Errors
/// A [`Failure`] of [`Stage::Scale`] for an unknown service, or a number beyond its limits: nothing was
/// changed. Other failures like those of a deploy: the desired capacity stays set.
pub async fn scale<P: Cloud + ?Sized>(
    cloud: &P,
    stack: &StackName,
    counts: &BTreeMap<ResourceName, u32>,
    options: &Options,
) -> Result<Option<Scaled>, Box<Failure>> {
    let run = Run::new(cloud, stack, options);
    run.locked("scale", while_locked(&run, counts)).await
}

/// The state of a service before it is scaled.
struct Wanted {
    name: ResourceName,
    group: Live<AutoscalingGroup>,
    target_group: Live<TargetGroup>,
    before: GroupCapacity,
    desired: u32,
    policies: Vec<Metric>,
}

async fn while_locked<P: Cloud + ?Sized>(
    run: &Run<'_, P>,
    counts: &BTreeMap<ResourceName, u32>,
) -> Result<Option<Scaled>, Box<Failure>> {
    let started = Instant::now();
    let Some(wanted) = look(run, counts).await? else {
        return Ok(None);
    };
    if run.is_stopped() {
        return Err(Failure::new(
            Stage::Interrupted,
            "interrupted before anything was changed",
        ));
    }
    let changing = wanted
        .iter()
        .filter(|one| one.before.desired != one.desired);
    let outcomes = join_all(changing.map(|one| async {
        let asking = run.cloud.scale(&one.group.id, one.desired);
        let asked = run.options.request_timeout.answer(asking).await;
        asked.map_err(|error| error.doing("scaling", &key(&one.name)))
    }))
    .await;
    let errors: Vec<Error> = outcomes.into_iter().filter_map(Result::err).collect();
    if !errors.is_empty() {
        let mut failure = Failure::new(Stage::Apply, "not every service could be scaled");
        failure.errors = errors;
        failure.remains = run.remains("the same `scale` continues from here").await;
        return Err(failure);
    }
    let waiting = wanted.iter().map(|one| healthy(run, one));
    match try_join_all(waiting).await {
        Ok(services) => Ok(Some(Scaled {
            stack: run.stack.clone(),
            services,
            duration_ms: millis(started.elapsed()),
        })),
        Err(mut failure) => {
            failure.remains = run.remains("the same `scale` continues to wait").await;
            Err(failure)
        }
    }
}

fn key(service: &ResourceName) -> Key {
    Key::new(kind::AUTOSCALING_GROUP, service.clone())
}

/// Finds the services of the counts, and refuses all invalid counts at once.
async fn look<P: Cloud + ?Sized>(
    run: &Run<'_, P>,
    counts: &BTreeMap<ResourceName, u32>,
) -> Result<Option<Vec<Wanted>>, Box<Failure>> {
    let looking = format!("cannot look at what {} holds", run.stack);
    let listing = async {
        futures::try_join!(
            Provider::<AutoscalingGroup>::list(run.cloud, run.stack),
            Provider::<TargetGroup>::list(run.cloud, run.stack),
            Provider::<ScalingPolicy>::list(run.cloud, run.stack),
        )
    };
    let (groups, target_groups, policies) = run.ask(Stage::Look, &looking, listing).await?;
    if groups.is_empty() {
        let live = run.look().await?;
        needs_groups(&live, run.stack, "landfall scale")?;
        if run.bound(&live).is_empty() {
            return Ok(None);
        }
    }
    let mut refused = Vec::new();
    let mut wanted = Vec::new();
    for (name, desired) in counts {
        let group = groups.iter().find(|group| &group.name == name);
        let target_group = target_groups.iter().find(|group| &group.name == name);
        let (Some(group), Some(target_group)) = (group, target_group) else {
            refused.push(no_service(run.stack, name, &groups));
            continue;
        };
        let capacity = run.cloud.capacity(&group.id);
        let before = run.ask(Stage::Look, &looking, capacity).await?;
        let GroupCapacity { min, max, .. } = before;
        if !(min..=max).contains(desired) {
            refused.push((
                format!("{name} has between {min} and {max} instances, and not {desired}"),
                format!("the limits are `min` and `max` under [service.{name}.scale] in landfall.toml; a deploy changes them"),
            ));
            continue;
        }
        let own = policies
            .iter()
            .filter(|policy| policy.spec.group.known() == Some(&group.id));
        wanted.push(Wanted {
            name: name.clone(),
            group: group.clone(),
            target_group: target_group.clone(),
            before,
            desired: *desired,
            policies: own.map(|policy| policy.spec.metric.clone()).collect(),
        });
    }
    if refused.is_empty() {
        return Ok(Some(wanted));
    }
    let (messages, hints): (Vec<_>, Vec<_>) = refused.into_iter().unzip();
    let mut failure = Failure::new(Stage::Scale, messages.join("; ")).hint(hints.join("; "));
    failure.remains = PostFailureState::Unchanged;
    Err(failure)
}

/// The failure for an unknown service, with the nearest name.
fn no_service(
    stack: &StackName,
    name: &ResourceName,
    groups: &[Live<AutoscalingGroup>],
) -> (String, String) {
    let known: Vec<String> = groups.iter().map(|group| group.name.to_string()).collect();
    let hint = match known.as_slice() {
        [] => "`deploy` creates the services of landfall.toml".to_owned(),
        [only] => format!("its only service is `{only}`"),
        known => config::for_name(name.as_str(), known),
    };
    (format!("{stack} has no service `{name}`"), hint)
}

/// Waits until a service has its desired capacity.
async fn healthy<P: Cloud + ?Sized>(
    run: &Run<'_, P>,
    wanted: &Wanted,
) -> Result<ScaledService, Box<Failure>> {
    let service = service_of(wanted);
    let watched = Watched {
        name: &wanted.name,
        service: &service,
        target_group: wanted.target_group.id.clone(),
        group: wanted.group.id.clone(),
        before: None,
        rollout: None,
    };
    let targets = health::wait(
        run.cloud,
        std::slice::from_ref(&watched),
        &run.options.apply,
    )
    .await?;
    let targets = targets.into_iter().map(|(_, target)| target).collect();
    Ok(ScaledService {
        name: wanted.name.clone(),
        before: wanted.before.desired,
        capacity: GroupCapacity {
            desired: wanted.desired,
            ..wanted.before
        },
        policies: wanted.policies.clone(),
        targets,
    })
}

/// The service from the provider's records: no file is needed.
fn service_of(wanted: &Wanted) -> Service {
    let spec = &wanted.target_group.spec;
    let check = &spec.health_check;
    let grace = wanted.group.spec.health_check_grace_period;
    Service {
        health: Health {
            path: check.path.clone(),
            interval: check.interval,
            timeout: check.timeout,
            healthy_threshold: check.healthy_threshold,
            unhealthy_threshold: check.unhealthy_threshold,
            matcher: check.matcher.clone(),
            deadline: grace.saturating_sub(AFTER_DEADLINE).max(1),
        },
        deregistration_delay: spec.deregistration_delay,
        ..Service::new(spec.port)
    }
}

impl ScaledService {
    /// Whether the capacity changed.
    pub fn is_changed(&self) -> bool {
        self.before != self.capacity.desired
    }
}

impl Scaled {
    /// The duration.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }
}
