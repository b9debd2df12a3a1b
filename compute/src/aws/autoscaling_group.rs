//! An autoscaling group on AWS: it uses the health of its targets, and names its template's version
//! explicitly.
//!
//! The desired number of the spec is stored in a tag, because scaling changes the capacity itself:
//! a plan shows changes of the file, and not the effect of traffic.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_autoscaling::config::Builder;
use aws_sdk_autoscaling::config::retry::RetryConfig;
use aws_sdk_autoscaling::types::{
    Activity, AutoScalingGroup as Found, Filter, Instance, LaunchTemplateSpecification,
    LifecycleState, ScalingActivityStatusCode, Tag, TagDescription,
};
use landfall_aws::{
    Aws, OWNER_NAME, OWNER_STACK, Owner, Singleflight, all_known, during, input, known, short_name,
    until_visible,
};
use landfall_provider::{
    AutoscalingGroupId, Change, Error, ErrorKind, Input, Key, LaunchTemplateId, Live, Probe,
    Provider, Resource as _, Result, StackName,
};

use super::{autoscaling, count, number};
use crate::{AutoscalingGroup, AutoscalingGroupOutput, LaunchTemplate};

/// The longest name: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CreateAutoScalingGroup.html>
const LONGEST: usize = 255;
/// The tag with the desired number of the spec.
const DESIRED: &str = "landfall:desired";
/// The health check type that includes the target groups, besides EC2.
const HEALTH_CHECK: &str = "ELB";
/// The maximum number of groups on a page.
const PAGE: i32 = 100;
/// The number of activities to read: more than a group has in progress at once.
const ACTIVITIES: i32 = 20;
/// After this many failed launches in a row the group counts as failed: the group itself retries
/// for ever.
const HOPELESS: usize = 3;
/// Older failures are ignored.
const RECENT: Duration = Duration::from_secs(600);

#[async_trait]
impl Provider<AutoscalingGroup> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<AutoscalingGroup>>> {
        let found = groups(self, &[(OWNER_STACK, stack.as_str())]).await?;
        let live: Vec<_> = found.iter().filter_map(live).collect();
        let names = live.iter().map(|one: &Live<_>| one.name.clone());
        self.listed(stack, AutoscalingGroup::KIND, names);
        Ok(live)
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &AutoscalingGroup,
    ) -> Result<AutoscalingGroupId> {
        let owner = Owner::new(stack, &key.name);
        let template = template(self, desired).await?;
        // If the name is taken although no group was found under it, an earlier call with a lost
        // answer took it: look once more.
        let mut looked = self.may_hold(stack, key);
        loop {
            let there = match looked {
                true => of_owner(self, &owner).await?,
                false => Vec::new(),
            };
            let fits = |one: &&Live<AutoscalingGroup>| {
                AutoscalingGroup::change(&one.spec, desired) == Change::Keep
                    && matches!(one.state, Probe::Usable(_) | Probe::Pending(_))
            };
            if let Some(same) = there.iter().find(fits) {
                return Ok(same.id.clone());
            }
            // While another group is being deleted or has failed, the new one has another name.
            let names: Vec<&str> = there.iter().map(|one| one.id.as_ref()).collect();
            let name = short_name(LONGEST, stack, key, &names.join(" "));
            match make(self, &name, &owner, desired, &template).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && !looked => looked = true,
                outcome => return outcome.map(|()| AutoscalingGroupId::from(name)),
            }
        }
    }

    async fn update(
        &self,
        live: &Live<AutoscalingGroup>,
        desired: &AutoscalingGroup,
    ) -> Result<()> {
        let name = live.id.as_ref();
        let current = &live.spec;
        let autoscaling = autoscaling(self);
        let template = match current.template == desired.template {
            true => None,
            false => Some(template(self, desired).await?),
        };
        autoscaling
            .update_auto_scaling_group()
            .auto_scaling_group_name(name)
            .set_launch_template(template)
            .vpc_zone_identifier(all_known(&desired.subnets)?.join(","))
            .min_size(number(desired.min))
            .max_size(number(desired.max))
            // The present capacity stays unless the spec's number changes; AWS keeps it within the
            // bounds.
            .set_desired_capacity(
                (current.desired != desired.desired).then(|| number(desired.desired)),
            )
            .health_check_type(HEALTH_CHECK)
            .health_check_grace_period(number(desired.health_check_grace_period))
            .send()
            .await
            .map_err(during("autoscaling:UpdateAutoScalingGroup"))?;
        let (gone, new) = (
            beyond(&current.target_groups, &desired.target_groups)?,
            beyond(&desired.target_groups, &current.target_groups)?,
        );
        if !new.is_empty() {
            autoscaling
                .attach_load_balancer_target_groups()
                .auto_scaling_group_name(name)
                .set_target_group_arns(Some(new))
                .send()
                .await
                .map_err(during("autoscaling:AttachLoadBalancerTargetGroups"))?;
        }
        if !gone.is_empty() {
            autoscaling
                .detach_load_balancer_target_groups()
                .auto_scaling_group_name(name)
                .set_target_group_arns(Some(gone))
                .send()
                .await
                .map_err(during("autoscaling:DetachLoadBalancerTargetGroups"))?;
        }
        if current.desired != desired.desired {
            // The tag comes last: without it, the next run sees a pending change.
            autoscaling
                .create_or_update_tags()
                .tags(tag(name, DESIRED, &desired.desired.to_string(), false))
                .send()
                .await
                .map_err(during("autoscaling:CreateOrUpdateTags"))?;
        }
        Ok(())
    }

    async fn probe(&self, id: &AutoscalingGroupId) -> Result<Probe<AutoscalingGroupOutput>> {
        let Some(group) = group(self, id).await? else {
            return Ok(Probe::Absent);
        };
        let Probe::Pending(missing) = state(&group) else {
            return Ok(state(&group));
        };
        Ok(after_failures(missing, &activities(self, id).await?))
    }

    async fn delete(&self, live: &Live<AutoscalingGroup>) -> Result<()> {
        let deleted = autoscaling(self)
            .delete_auto_scaling_group()
            .auto_scaling_group_name(live.id.as_ref())
            .force_delete(true)
            .send()
            .await
            .map_err(during("autoscaling:DeleteAutoScalingGroup"));
        match deleted {
            // An absent group, like many other errors, is a ValidationError here. For a group that
            // is scaling or in use, retry: nobody else deletes it, except an earlier call of this
            // run.
            Err(error) if is_refused(&error) => {
                match group(self, &live.id).await?.map(|group| state(&group)) {
                    None | Some(Probe::Ending(_)) => Ok(()),
                    Some(_) => Err(still_there(error)),
                }
            }
            outcome => outcome.map(drop),
        }
    }
}

/// The error of a delete whose resource AWS still shows: it is not gone, whatever the error says.
pub(super) fn still_there(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Invalid, error),
        _ => error,
    }
}

/// Whether a delete has to look at the group before its error means anything.
fn is_refused(error: &Error) -> bool {
    use ErrorKind::{InUse, Invalid, NotFound};
    matches!(error.kind(), Invalid | InUse | NotFound)
}

/// The group of this name; concurrent callers share the answer.
pub(super) async fn shared(aws: &Aws, id: &AutoscalingGroupId) -> Result<Option<Found>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Option<Found>>>::default());
    let (aws, group_id) = (aws.clone(), id.clone());
    let question = format!("autoscaling:DescribeAutoScalingGroups {id}");
    let ask = move || async move { group(&aws, &group_id).await };
    singleflight.join(&question, ask).await
}

/// The group of this name.
pub(super) async fn group(aws: &Aws, id: &AutoscalingGroupId) -> Result<Option<Found>> {
    let found = autoscaling(aws)
        .describe_auto_scaling_groups()
        .auto_scaling_group_names(id.as_ref())
        .send()
        .await
        .map_err(during("autoscaling:DescribeAutoScalingGroups"))?;
    Ok(found.auto_scaling_groups().first().cloned())
}

/// The groups with all of these tags.
async fn groups(aws: &Aws, tags: &[(&str, &str)]) -> Result<Vec<Found>> {
    let filter = |(tag, value): &(&str, &str)| {
        Filter::builder()
            .name(format!("tag:{tag}"))
            .values(*value)
            .build()
    };
    let mut pages = autoscaling(aws)
        .describe_auto_scaling_groups()
        .set_filters(Some(tags.iter().map(filter).collect()))
        .max_records(PAGE)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(during("autoscaling:DescribeAutoScalingGroups"))?;
        found.extend(page.auto_scaling_groups().iter().cloned());
    }
    Ok(found)
}

/// The groups of this owner.
async fn of_owner(aws: &Aws, owner: &Owner) -> Result<Vec<Live<AutoscalingGroup>>> {
    let tags = [
        (OWNER_STACK, owner.stack.as_str()),
        (OWNER_NAME, owner.name.as_str()),
    ];
    Ok(groups(aws, &tags).await?.iter().filter_map(live).collect())
}

/// The group's activities, the newest first.
pub(super) async fn activities(aws: &Aws, id: &AutoscalingGroupId) -> Result<Vec<Activity>> {
    let listed = autoscaling(aws)
        .describe_scaling_activities()
        .auto_scaling_group_name(id.as_ref())
        .max_records(ACTIVITIES)
        .send()
        .await
        .map_err(during("autoscaling:DescribeScalingActivities"))?;
    Ok(listed.activities().to_vec())
}

async fn make(
    aws: &Aws,
    name: &str,
    owner: &Owner,
    desired: &AutoscalingGroup,
    template: &LaunchTemplateSpecification,
) -> Result<()> {
    let mut tags: Vec<Tag> = owner
        .tags()
        .iter()
        .map(|(key, value)| tag(name, key, value, true))
        .collect();
    tags.push(tag(name, DESIRED, &desired.desired.to_string(), false));
    autoscaling(aws)
        .create_auto_scaling_group()
        .auto_scaling_group_name(name)
        .launch_template(template.clone())
        .vpc_zone_identifier(all_known(&desired.subnets)?.join(","))
        .min_size(number(desired.min))
        .desired_capacity(number(desired.desired))
        .max_size(number(desired.max))
        .set_target_group_arns(Some(all_known(&desired.target_groups)?))
        .health_check_type(HEALTH_CHECK)
        .health_check_grace_period(number(desired.health_check_grace_period))
        .set_tags(Some(tags))
        .customize()
        // The engine makes the next attempt: after a look, for an emulator that would create a
        // second group of that name.
        .config_override(Builder::new().retry_config(RetryConfig::disabled()))
        .send()
        .await
        .map_err(during("autoscaling:CreateAutoScalingGroup"))
        .map_err(until_visible)?;
    Ok(())
}

fn tag(group: &str, key: &str, value: &str, propagate: bool) -> Tag {
    Tag::builder()
        .resource_type("auto-scaling-group")
        .resource_id(group)
        .key(key)
        .value(value)
        .propagate_at_launch(propagate)
        .build()
}

/// The template by id and its newest version by number.
async fn template(aws: &Aws, desired: &AutoscalingGroup) -> Result<LaunchTemplateSpecification> {
    let id = LaunchTemplateId::from(known(&desired.template)?);
    match Provider::<LaunchTemplate>::probe(aws, &id).await? {
        Probe::Usable(output) => Ok(version(&id, output.version)),
        _ => {
            let why = format_args!("{id} is not visible to AWS yet");
            Err(Error::new(ErrorKind::Unavailable, why))
        }
    }
}

/// A version of a template, in the form of groups and refreshes.
pub(super) fn version(id: &LaunchTemplateId, version: u32) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .launch_template_id(id.as_ref())
        .version(version.to_string())
        .build()
}

/// The elements of the first list that are not in the second.
fn beyond<T: landfall_provider::ResourceId>(
    one: &[Input<T>],
    other: &[Input<T>],
) -> Result<Vec<String>> {
    let only = one.iter().filter(|input| !other.contains(input));
    only.map(|input| known(input).map(str::to_owned)).collect()
}

fn live(group: &Found) -> Option<Live<AutoscalingGroup>> {
    let tags = |tag: &TagDescription| Some((tag.key()?.to_owned(), tag.value()?.to_owned()));
    let tags: Vec<(String, String)> = group.tags().iter().filter_map(tags).collect();
    let owner = Owner::of(
        tags.iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )?;
    let asked = tags.iter().find(|(key, _)| key == DESIRED);
    let asked = asked.and_then(|(_, value)| value.parse().ok());
    let subnets = group.vpc_zone_identifier().unwrap_or_default();
    let spec = AutoscalingGroup {
        template: input(group.launch_template()?.launch_template_id()?),
        subnets: subnets
            .split(',')
            .filter(|id| !id.is_empty())
            .map(input)
            .collect(),
        min: count(group.min_size()),
        desired: asked.unwrap_or_else(|| count(group.desired_capacity())),
        max: count(group.max_size()),
        target_groups: group.target_group_arns().iter().map(input).collect(),
        health_check_grace_period: count(group.health_check_grace_period()),
    };
    Some(Live {
        id: AutoscalingGroupId::from(group.auto_scaling_group_name()?),
        name: owner.name,
        spec,
        state: state(group),
    })
}

/// The state of a group: usable when its present capacity is in service.
fn state(group: &Found) -> Probe<AutoscalingGroupOutput> {
    let desired = count(group.desired_capacity()) as usize;
    let instances = group.instances();
    // AWS sets this field only while a group is being deleted.
    if group.status().is_some() {
        return Probe::Ending(match instances.len() {
            0 => "the group is being deleted".to_owned(),
            1 => "1 instance is draining or terminating".to_owned(),
            number => format!("{number} instances are draining or terminating"),
        });
    }
    let in_service = instances.iter().filter(|instance| serves(instance)).count();
    if in_service < desired {
        let missing = format!("{in_service} of {desired} instances are in service");
        return Probe::Pending(missing);
    }
    Probe::Usable(AutoscalingGroupOutput {
        version: oldest(group),
    })
}

fn serves(instance: &Instance) -> bool {
    instance.lifecycle_state() == Some(&LifecycleState::InService)
        && instance.health_status() == Some("Healthy")
}

/// Whether an instance is leaving its group.
pub(super) fn is_leaving(instance: &Instance) -> bool {
    matches!(
        instance.lifecycle_state(),
        Some(
            LifecycleState::Terminating
                | LifecycleState::TerminatingWait
                | LifecycleState::TerminatingProceed
                | LifecycleState::Terminated
                | LifecycleState::Detaching
                | LifecycleState::Detached
        )
    )
}

/// The lowest version among the group's instances, 0 for an instance of another template; without
/// instances, the group's own version.
fn oldest(group: &Found) -> u32 {
    let template = group.launch_template();
    let id = template.and_then(|template| template.launch_template_id());
    let staying = group
        .instances()
        .iter()
        .filter(|instance| !is_leaving(instance));
    staying
        .map(|instance| match instance.launch_template() {
            Some(one) if one.launch_template_id() == id => version_of(one),
            _ => 0,
        })
        .min()
        .unwrap_or_else(|| template.map(version_of).unwrap_or_default())
}

/// The number of a version; 0 for `$Latest`, which no Landfall group uses.
pub(super) fn version_of(template: &LaunchTemplateSpecification) -> u32 {
    let version = template.version().unwrap_or_default();
    version.parse().unwrap_or_default()
}

/// The missing instances, with the messages of the last launches. A group retries for ever; three
/// failures in a row count as a failure here.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/CHAP_Troubleshooting.html>
fn after_failures(missing: String, activities: &[Activity]) -> Probe<AutoscalingGroupOutput> {
    let now = SystemTime::now();
    let recent = |activity: &&Activity| {
        let begun = activity
            .start_time()
            .and_then(|time| SystemTime::try_from(*time).ok());
        let age = begun.and_then(|begun| now.duration_since(begun).ok());
        age.is_none_or(|age| age < RECENT)
    };
    let failed: Vec<&str> = activities
        .iter()
        .filter(recent)
        // Activities in progress have no result yet.
        .filter(|one| {
            matches!(
                one.status_code(),
                Some(
                    ScalingActivityStatusCode::Failed
                        | ScalingActivityStatusCode::Cancelled
                        | ScalingActivityStatusCode::Successful
                )
            )
        })
        .take_while(|one| one.status_code() != Some(&ScalingActivityStatusCode::Successful))
        .map(|one| one.status_message().unwrap_or("no reason was given"))
        .collect();
    match failed.as_slice() {
        [] => Probe::Pending(missing),
        [last, ..] if failed.len() >= HOPELESS => Probe::Failed(format!(
            "{missing}; {} launches in a row failed, the last one: {last}",
            failed.len()
        )),
        [last, ..] => Probe::Pending(format!("{missing}; the last launch failed: {last}")),
    }
}
