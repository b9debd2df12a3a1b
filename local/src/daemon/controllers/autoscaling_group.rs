//! Autoscaling groups: a task per group launches and terminates instances as [`group`] decides.

use std::sync::Arc;
use std::time::Duration;

use landfall_compute::{AutoscalingGroup, GroupInstance, Instance, LaunchTemplate};
use landfall_network::Subnet;
use landfall_provider::{
    AutoscalingGroupId, Error, ErrorKind, InstanceId, LaunchTemplateId, Result, SubnetId,
};
use tokio::time::Instant;

use super::hooks::Hooks;
use super::{lifecycle, load_balancer, scaling_policy};
use crate::daemon::records::group::{self, GroupMember, ScalingAction, View};
use crate::daemon::records::kinds::known;
use crate::daemon::records::machine::{InstanceRecord, Phase};
use crate::daemon::records::rollout;
use crate::daemon::records::rollout::{Rollout, RolloutProgress};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{LocalResource, find};
use crate::daemon::runtime::cloud::{Cloud, Inner};
use crate::daemon::runtime::container;
use tracing::{info, warn};

impl Hooks for AutoscalingGroup {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        reconcile_group(cloud, id.clone());
        scaling_policy::follow(cloud, id.clone());
        Ok(())
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        reset_backoff(cloud, id);
        Ok(())
    }
}

/// Starts the task that reconciles a group until it is deleted.
pub(in crate::daemon) fn reconcile_group(cloud: &Arc<Cloud>, id: AutoscalingGroupId) {
    let cloud = Arc::clone(cloud);
    {
        let state = &mut cloud.lock().state;
        let newest = newest_version(state, &id);
        state.rollouts.insert(id.clone(), Rollout::at(newest));
    }
    tokio::spawn(async move {
        let mut changes = cloud.changed.subscribe();
        loop {
            changes.mark_unchanged();
            let next = {
                let mut inner = cloud.lock();
                note_healthy(&mut inner, &id);
                advance(&mut inner, &id);
                match view(&inner, &id) {
                    None => return,
                    Some(view) if view.ending && !has_machines(&inner, &id) => None,
                    Some(view) => {
                        let (acts, again) = group::decide(&view);
                        let until = inner.state.rollouts.get(&id).and_then(Rollout::until);
                        Some((acts, again.into_iter().chain(until).min()))
                    }
                }
            };
            let Some((acts, again)) = next else { break };
            for act in acts {
                let done = match act {
                    ScalingAction::Launch(subnet) => launch(&cloud, &id, &subnet),
                    ScalingAction::Retire(instance, why) => {
                        retire(&cloud, &instance, why);
                        Ok(())
                    }
                };
                if let Err(error) = done {
                    warn!(group = %id, "{error}");
                    cloud
                        .lock()
                        .state
                        .histories
                        .entry(id.clone())
                        .or_default()
                        .ended(
                            &format!("could not be launched: {error}"),
                            false,
                            Instant::now(),
                        );
                    cloud.tell();
                }
            }
            let pause = async {
                match again {
                    Some(again) => tokio::time::sleep_until(again).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = pause => {}
            }
        }
        let gone = cloud.change(|state| {
            state.tables.autoscaling_groups.remove(&id);
            state.histories.remove(&id);
            state.rollouts.remove(&id);
            state
                .machines
                .retain(|_, machine| machine.group.as_ref() != Some(&id));
            Ok(())
        });
        if let Err(error) = gone {
            warn!(group = %id, "{error}");
        }
    });
}

/// Records which instances have become healthy. A healthy instance resets the group's count of failed launches.
fn note_healthy(inner: &mut Inner, id: &AutoscalingGroupId) {
    let machines = inner.state.machines.iter();
    let newly: Vec<InstanceId> = machines
        .filter(|(_, machine)| machine.group.as_ref() == Some(id))
        .filter(|(_, machine)| machine.phase == Phase::Running && !machine.was_healthy)
        .filter(|(instance, _)| load_balancer::health(inner, instance) == group::Health::Healthy)
        .map(|(instance, _)| instance.clone())
        .collect();
    for instance in newly {
        if let Some(machine) = inner.state.machines.get_mut(&instance) {
            machine.was_healthy = true;
        }
        if let Some(history) = inner.state.histories.get_mut(id) {
            history.recovered();
        }
    }
}

/// The current state of a group; `None` if it was deleted.
fn view(inner: &Inner, id: &AutoscalingGroupId) -> Option<View> {
    let group = inner.state.tables.autoscaling_groups.get(id)?;
    let version = inner.state.rollouts.get(id).map(Rollout::version);
    let mut subnets: Vec<SubnetId> = group
        .spec
        .subnets
        .iter()
        .filter_map(|id| id.known().cloned())
        .collect();
    subnets.sort_by_key(|id| {
        inner
            .state
            .tables
            .subnets
            .get(id)
            .map(|subnet| subnet.spec.zone.clone())
    });
    let members = inner.state.machines.iter();
    let members =
        members.filter(|(_, machine)| machine.group.as_ref() == Some(id) && machine.is_alive());
    Some(View {
        ending: group.ending,
        desired: group.facts.capacity as usize,
        members: members
            .map(|(id, machine)| GroupMember {
                id: id.clone(),
                subnet: machine.subnet.clone(),
                is_current: Some(machine.template_version) == version
                    && subnets.contains(&machine.subnet),
                is_running: machine.phase == Phase::Running,
                health: load_balancer::health(inner, id),
                launched: machine.launched,
            })
            .collect(),
        subnets,
        pause_until: inner
            .state
            .histories
            .get(id)
            .and_then(|history| history.pause_until),
        grace: Duration::from_secs(group.spec.health_check_grace_period.into()),
        now: Instant::now(),
    })
}

/// The newest version of a group's template.
fn newest_version(state: &State, id: &AutoscalingGroupId) -> u32 {
    let group = state.tables.autoscaling_groups.get(id);
    let template = group.and_then(|group| group.spec.template.known());
    let template = template.and_then(|id| state.tables.launch_templates.get(id));
    template.map_or(1, |template| template.facts.version)
}

/// Records the progress of a rollout, and starts the rollback if it cannot succeed.
fn advance(inner: &mut Inner, id: &AutoscalingGroupId) {
    let Some(standing) = standing(inner, id) else {
        return;
    };
    let state = &mut inner.state;
    let Some(rollout) = state.rollouts.get_mut(id) else {
        return;
    };
    let tried = rollout.version();
    if rollout.advance(&standing, Instant::now()) {
        let back_to = rollout.version();
        info!(group = %id, "rolled back from version {tried} to {back_to}");
        // The failed launches belong to the abandoned version.
        state.histories.remove(id);
    }
}

/// The progress of the instances of a group's desired version.
pub(in crate::daemon) fn standing(
    inner: &Inner,
    id: &AutoscalingGroupId,
) -> Option<RolloutProgress> {
    let view = view(inner, id)?;
    let (current, others): (Vec<&GroupMember>, Vec<&GroupMember>) =
        view.members.iter().partition(|member| member.is_current);
    let (proven, ailing): (Vec<&GroupMember>, Vec<&GroupMember>) = current
        .into_iter()
        .partition(|member| member.is_running && member.health == group::Health::Healthy);
    let ailing = ailing
        .iter()
        .find_map(|member| load_balancer::unhealthy_reason(inner, &member.id));
    let history = inner.state.histories.get(id).cloned().unwrap_or_default();
    Some(RolloutProgress {
        desired: view.desired,
        proven: proven.len(),
        others: others.len(),
        failures: history.failures,
        last_end: history.last_end,
        ailing,
    })
}

fn has_machines(inner: &Inner, id: &AutoscalingGroupId) -> bool {
    let mut machines = inner.state.machines.values();
    machines.any(|machine| machine.group.as_ref() == Some(id) && machine.has_interface())
}

/// Launches an instance of a group.
fn launch(cloud: &Arc<Cloud>, group: &AutoscalingGroupId, subnet: &SubnetId) -> Result<()> {
    let id = cloud.change(|state| {
        let entry = find::<AutoscalingGroup>(state, group)?;
        let version = state.rollouts.get(group).map(Rollout::version);
        let version = version.unwrap_or_else(|| newest_version(state, group));
        let template = known(&entry.spec.template)?;
        let versions = &find::<LaunchTemplate>(state, template)?.facts.versions;
        let template = versions.get(&version).ok_or_else(|| {
            let why = format_args!("{template} has no version {version}");
            Error::new(ErrorKind::NotFound, why)
        })?;
        let machine = InstanceRecord {
            group: Some(group.clone()),
            hostname: format!("{}-{}", entry.stack, entry.name),
            zone: find::<Subnet>(state, subnet)?.spec.zone.clone(),
            subnet: subnet.clone(),
            address: state.new_private_address(subnet)?,
            groups: template
                .spec
                .groups
                .iter()
                .map(|id| known(id).cloned())
                .collect::<Result<_>>()?,
            workload: Some(template.spec.workload.clone()),
            key: container::public_key(state, template.spec.key.as_ref())?,
            image_store: template.image_store.clone(),
            secrets: template.secrets.clone(),
            template_version: version,
            phase: Phase::Booting,
            launched: Instant::now(),
            ended: None,
            was_healthy: false,
        };
        let id = InstanceId::from(state.unique(Instance::PREFIX));
        state.machines.insert(id.clone(), machine);
        Ok(id)
    })?;
    lifecycle::run(cloud, id);
    Ok(())
}

/// Terminates an instance of a group: it is drained, then stopped.
fn retire(cloud: &Arc<Cloud>, id: &InstanceId, why: &'static str) {
    info!(instance = %id, "ending, because {why}");
    {
        let mut inner = cloud.lock();
        let unhealthy = load_balancer::health(&inner, id) == group::Health::Unhealthy;
        let Inner { state, .. } = &mut *inner;
        let Some(machine) = state.machines.get_mut(id) else {
            return;
        };
        machine.phase = Phase::Stopping;
        if unhealthy {
            let machine = machine.clone();
            rollout::record_exit(state, &machine, "was unhealthy");
        }
    }
    let (cloud, id) = (Arc::clone(cloud), id.clone());
    tokio::spawn(async move {
        lifecycle::stop(&cloud, &id).await;
        let gone = cloud.change(|state| {
            state.machines.remove(&id);
            Ok(())
        });
        if let Err(error) = gone {
            warn!(instance = %id, "{error}");
        }
    });
}

/// Resets the backoff of a group that changed: its next instances may start.
pub(in crate::daemon) fn reset_backoff(cloud: &Cloud, group: &AutoscalingGroupId) {
    cloud.lock().state.histories.remove(group);
    cloud.tell();
}

/// Resets the backoff of every group of a changed launch template, and lets them follow it.
pub(in crate::daemon) fn follow_template(cloud: &Cloud, template: &LaunchTemplateId) {
    let mut inner = cloud.lock();
    let state = &mut inner.state;
    let groups: Vec<_> = state
        .tables
        .autoscaling_groups
        .iter()
        .filter(|(_, entry)| entry.spec.template.known() == Some(template))
        .map(|(group, _)| group.clone())
        .collect();
    for group in groups {
        state.histories.remove(&group);
    }
    rollout::follow(state, template);
    drop(inner);
    cloud.tell();
}

/// The instances of a group.
pub(in crate::daemon) fn instances(
    inner: &Inner,
    group: &AutoscalingGroupId,
) -> Result<Vec<GroupInstance>> {
    find::<AutoscalingGroup>(&inner.state, group)?;
    let machines = inner
        .state
        .machines
        .iter()
        .filter(|(_, machine)| machine.group.as_ref() == Some(group));
    Ok(machines.map(|(id, machine)| machine.describe(id)).collect())
}
