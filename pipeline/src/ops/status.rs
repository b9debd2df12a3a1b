//! Status: the path of a request through a stack, from listener to target, with the health of each part.

use std::time::SystemTime;

use futures::future::try_join_all;
use landfall_compute::{AutoscalingGroup, GroupCapacity, GroupInstance, Scaling};
use landfall_lb::{
    Action, Condition, Listener, ListenerOutput, ListenerRule, LoadBalancerOutput, TargetGroup,
    TargetHealth, TargetState,
};
use landfall_provider::{
    AutoscalingGroupId, Error, ErrorKind, Found, Input, Port, Probe, Resource, ResourceName,
    Result, Snapshot, StackName, TargetGroupId, kind,
};
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::access::name_of;
use super::single_status::{self, SingleStatus};
use crate::cloud::{Cloud, catalog};
use crate::health::place;

/// The status of a stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The stack.
    pub stack: StackName,
    /// The number of its resources without images; 0 if the stack does not exist.
    pub resources: usize,
    /// The balancers.
    pub balancers: Vec<BalancerStatus>,
    /// Their listeners.
    pub listeners: Vec<ListenerStatus>,
    /// The autoscaling groups.
    pub groups: Vec<GroupStatus>,
    /// The single instances that run a container.
    pub instances: Vec<SingleStatus>,
    /// The unusable resources of all kinds.
    pub unusable: Vec<Unusable>,
}

impl Status {
    /// Whether the stack exists.
    pub fn exists(&self) -> bool {
        self.resources > 0
    }

    /// Whether all resources are usable, and every target group has a healthy target and no unhealthy one.
    pub fn is_healthy(&self) -> bool {
        let mut groups = self
            .listeners
            .iter()
            .flat_map(|listener| &listener.rules)
            .filter_map(|rule| match &rule.action {
                RuleAction::Forward(group) => Some(group),
                RuleAction::RedirectToHttps(_) => None,
            });
        self.exists()
            && self.unusable.is_empty()
            && groups.all(TargetGroupStatus::is_healthy)
            && self.instances.iter().all(SingleStatus::runs)
    }
}

/// The status of a load balancer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BalancerStatus {
    /// Its name in the stack.
    pub name: ResourceName,
    /// Its DNS name, if known.
    pub dns_name: Option<String>,
}

/// The status of a listener.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListenerStatus {
    /// Its name in the stack.
    pub name: ResourceName,
    /// Its port.
    pub port: Port,
    /// The URL for browsers, if known.
    pub url: Option<String>,
    /// Its rules in the order of priority; the default rule is the last.
    pub rules: Vec<RuleStatus>,
}

/// A rule of a listener.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleStatus {
    /// Its priority; `None` for the default rule.
    pub priority: Option<u16>,
    /// Its condition; `None` for the default rule.
    pub condition: Option<Condition>,
    /// Its action.
    pub action: RuleAction,
}

/// The action of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleAction {
    /// Forwards requests to the targets of a group.
    Forward(TargetGroupStatus),
    /// Redirects to the same URL by HTTPS, on this port.
    RedirectToHttps(Port),
}

/// The status of a target group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetGroupStatus {
    /// Its name in the stack; its id if it does not belong to the stack.
    pub name: String,
    /// The port of its targets, if it belongs to the stack.
    pub port: Option<Port>,
    /// Its targets, by zone and id.
    pub targets: Vec<TargetStatus>,
}

/// The status of a target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// Its health at the load balancer.
    pub health: TargetHealth,
    /// The version of its launch template, if it is an instance of a group of the stack.
    pub version: Option<u32>,
    /// Its name for `ssh`, `exec` and `logs`, such as `web/2`, while it exists.
    pub name: Option<String>,
}

/// One row per target.
impl Serialize for TargetStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let TargetHealth {
            id,
            address,
            zone,
            state,
            reason,
            description,
            since,
        } = &self.health;
        let mut row = serializer.serialize_struct("TargetStatus", 9)?;
        row.serialize_field("id", id)?;
        row.serialize_field("address", address)?;
        row.serialize_field("zone", zone)?;
        row.serialize_field("state", state)?;
        row.serialize_field("reason", reason)?;
        row.serialize_field("description", description)?;
        row.serialize_field("since", &since.map(Since))?;
        row.serialize_field("version", &self.version)?;
        row.serialize_field("name", &self.name)?;
        row.end()
    }
}

/// A moment as text.
#[derive(Serialize)]
struct Since(#[serde(with = "landfall_provider::rfc3339")] SystemTime);

impl TargetGroupStatus {
    /// Whether at least one target is healthy and none is unhealthy.
    pub fn is_healthy(&self) -> bool {
        let any = |state| {
            self.targets
                .iter()
                .any(|target| target.health.state == state)
        };
        any(TargetState::Healthy) && !any(TargetState::Unhealthy)
    }
}

/// The status of an autoscaling group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatus {
    /// Its name in the stack.
    pub name: ResourceName,
    /// Its desired capacity and its limits.
    pub capacity: GroupCapacity,
    /// The desired capacity of its spec; scaling may have changed it.
    pub desired_in_file: u32,
    /// The last change by scaling, if it is still known.
    pub last_scaling: Option<Scaling>,
    /// Its instances, by id, including those that ended recently.
    pub instances: Vec<GroupInstance>,
}

/// One row per group, with its limits.
impl Serialize for GroupStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("GroupStatus", 7)?;
        row.serialize_field("name", &self.name)?;
        row.serialize_field("min", &self.capacity.min)?;
        row.serialize_field("desired", &self.capacity.desired)?;
        row.serialize_field("max", &self.capacity.max)?;
        row.serialize_field("desired_in_file", &self.desired_in_file)?;
        row.serialize_field("last_scaling", &self.last_scaling)?;
        row.serialize_field("instances", &self.instances)?;
        row.end()
    }
}

/// A resource that is not usable, or not yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unusable {
    /// Its key.
    pub key: landfall_provider::Key,
    /// Whether it has failed.
    pub failed: bool,
    /// The awaited state, or the reason of the failure.
    pub why: String,
}

/// Returns the status of a stack: one listing per kind, then the health of its targets.
///
/// # Errors
/// The first failed request to the provider. Resources that are deleted during the listing are left out.
pub async fn status<P: Cloud + ?Sized>(cloud: &P, stack: &StackName) -> Result<Status> {
    let snapshot = catalog().snapshot(cloud, stack).await?;
    let resources = snapshot
        .found()
        .iter()
        .filter(|found| found.key.kind != kind::IMAGE)
        .count();
    let of = |kind| {
        snapshot
            .found()
            .iter()
            .filter(move |found| found.key.kind == kind)
    };
    let balancers = of(kind::LOAD_BALANCER).map(|found| BalancerStatus {
        name: found.key.name.clone(),
        dns_name: known::<LoadBalancerOutput>(found).map(|output| output.dns_name),
    });
    let listeners = of(kind::LISTENER).map(|found| listener(cloud, &snapshot, found));
    let groups = of(kind::AUTOSCALING_GROUP).map(|found| group(cloud, found));
    let (mut listeners, groups, instances) = futures::try_join!(
        try_join_all(listeners),
        try_join_all(groups),
        single_status::statuses(cloud, &snapshot),
    )?;
    let rules = listeners
        .iter_mut()
        .flat_map(|listener| &mut listener.rules);
    for rule in rules {
        if let RuleAction::Forward(TargetGroupStatus { targets, port, .. }) = &mut rule.action {
            for target in targets {
                tell(target, &groups, *port);
            }
        }
    }
    Ok(Status {
        stack: stack.clone(),
        resources,
        balancers: balancers.collect(),
        listeners,
        groups,
        instances,
        unusable: snapshot.found().iter().filter_map(unusable).collect(),
    })
}

/// Adds the data of its group to a target.
fn tell(target: &mut TargetStatus, groups: &[GroupStatus], port: Option<Port>) {
    for group in groups {
        if let Some(port) = port {
            place(
                std::slice::from_mut(&mut target.health),
                &group.instances,
                port,
            );
        }
        let mut own = group.instances.iter();
        if let Some(instance) = own.find(|instance| instance.id.as_ref() == target.health.id) {
            target.version = Some(instance.template_version);
            target.name = name_of(&group.name, &group.instances, &instance.id);
        }
    }
}

async fn listener<P: Cloud + ?Sized>(
    cloud: &P,
    snapshot: &Snapshot,
    found: &Found,
) -> Result<ListenerStatus> {
    let spec: Listener = spec(found)?;
    let mut rules: Vec<(ListenerRule, Option<u16>)> = Vec::new();
    for one in snapshot.of_kind(&kind::LISTENER_RULE) {
        let rule: ListenerRule = self::spec(one)?;
        if rule
            .listener
            .known()
            .is_some_and(|id| id.as_ref() == found.id)
        {
            let priority = Some(rule.priority);
            rules.push((rule, priority));
        }
    }
    rules.sort_by_key(|(_, priority)| *priority);
    let mut reported = Vec::new();
    for (rule, priority) in rules {
        reported.push(RuleStatus {
            priority,
            condition: Some(rule.condition),
            action: RuleAction::Forward(target_group(cloud, snapshot, &rule.target_group).await?),
        });
    }
    reported.push(RuleStatus {
        priority: None,
        condition: None,
        action: match &spec.action {
            Action::Forward(group) => {
                RuleAction::Forward(target_group(cloud, snapshot, group).await?)
            }
            Action::RedirectToHttps(port) => RuleAction::RedirectToHttps(*port),
        },
    });
    Ok(ListenerStatus {
        name: found.key.name.clone(),
        port: spec.port,
        url: known::<ListenerOutput>(found).map(|output| output.url),
        rules: reported,
    })
}

async fn target_group<P: Cloud + ?Sized>(
    cloud: &P,
    snapshot: &Snapshot,
    id: &Input<TargetGroupId>,
) -> Result<TargetGroupStatus> {
    let id = id
        .known()
        .cloned()
        .unwrap_or_else(|| TargetGroupId::from(""));
    let own = snapshot
        .of_kind(&kind::TARGET_GROUP)
        .find(|found| found.id == id.as_ref());
    let spec = own.map(spec::<TargetGroup>).transpose()?;
    Ok(TargetGroupStatus {
        name: own.map_or_else(|| id.to_string(), |found| found.key.name.to_string()),
        port: spec.map(|spec| spec.port),
        targets: unless_gone(cloud.target_health(&id).await)?
            .unwrap_or_default()
            .into_iter()
            .map(|health| TargetStatus {
                health,
                version: None,
                name: None,
            })
            .collect(),
    })
}

async fn group<P: Cloud + ?Sized>(cloud: &P, found: &Found) -> Result<GroupStatus> {
    let spec: AutoscalingGroup = spec(found)?;
    let id = AutoscalingGroupId::from(found.id.clone());
    let (capacity, last_scaling, instances) = futures::join!(
        cloud.capacity(&id),
        cloud.last_scaling(&id),
        cloud.group_instances(&id)
    );
    Ok(GroupStatus {
        name: found.key.name.clone(),
        capacity: unless_gone(capacity)?.unwrap_or(GroupCapacity {
            min: spec.min,
            desired: spec.desired,
            max: spec.max,
        }),
        desired_in_file: spec.desired,
        last_scaling: unless_gone(last_scaling)?.flatten(),
        instances: unless_gone(instances)?.unwrap_or_default(),
    })
}

/// A resource that was deleted since the listing is not a failure.
fn unless_gone<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        answer => answer.map(Some),
    }
}

fn unusable(found: &Found) -> Option<Unusable> {
    let (failed, why) = match &found.state {
        Probe::Usable(_) | Probe::Absent => return None,
        Probe::Pending(why) | Probe::Ending(why) => (false, why),
        Probe::Failed(why) => (true, why),
    };
    Some(Unusable {
        key: found.key.clone(),
        failed,
        why: why.clone(),
    })
}

fn spec<R: Resource>(found: &Found) -> Result<R> {
    R::deserialize(&found.spec).map_err(|error| {
        Error::new(
            ErrorKind::Invalid,
            format_args!("{} does not match its kind", found.key),
        )
        .caused_by(error)
    })
}

/// Its output, if it is usable.
fn known<O: DeserializeOwned>(found: &Found) -> Option<O> {
    match &found.state {
        Probe::Usable(output) => O::deserialize(output).ok(),
        _ => None,
    }
}
