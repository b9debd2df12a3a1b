//! Load balancers: starts their nodes, and configures their listeners, target groups and targets from the records.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use landfall_lb::{HealthReason, Listener, LoadBalancer, TargetGroup, TargetHealth, TargetState};
use landfall_provider::{
    Error, ErrorKind, InstanceId, ListenerId, LoadBalancerId, Port, Result, TargetGroupId, Zone,
};

use super::hooks::Hooks;
use crate::daemon::records::group::Health;
use crate::daemon::records::kinds::load_balancer::dns_name;
use crate::daemon::records::machine::Phase;
use crate::daemon::records::state::State;
use crate::daemon::records::table::find;
use crate::daemon::records::topology::node_interface;
use crate::daemon::runtime::balancer::RunningBalancer;
use crate::daemon::runtime::cloud::{Cloud, Inner};
use crate::daemon::runtime::container;
use landfall_balancer::{
    Attributes, Balancer, Condition, HealthCheckConfig, HealthState, ListenerConfig, Matcher,
    Reason, Rule, Target, TargetGroupConfig,
};
use tracing::warn;

impl Hooks for LoadBalancer {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        start(cloud, id).await
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        sync(cloud, id).await
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        cloud.change(|state| state.end::<Self>(id))?;
        let (cloud, id) = (Arc::clone(cloud), id.clone());
        tokio::spawn(async move {
            if let Err(error) = end(&cloud, &id).await {
                warn!(load_balancer = %id, "cannot be ended: {error}");
            }
        });
        Ok(())
    }
}

/// The time that requests get to finish when a load balancer is deleted.
const WAIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts a load balancer after its record was created.
pub(in crate::daemon) async fn start(cloud: &Arc<Cloud>, id: &LoadBalancerId) -> Result<()> {
    let mut health = {
        let mut inner = cloud.lock();
        let entry = find::<LoadBalancer>(&inner.state, id)?;
        let attributes = Attributes {
            idle_timeout: Duration::from_secs(entry.spec.idle_timeout.into()),
            dns_name: dns_name(entry),
            ..Attributes::default()
        };
        let running = RunningBalancer {
            balancer: Arc::new(Balancer::new(id.to_string(), attributes)),
            zones: BTreeSet::new(),
            groups: BTreeSet::new(),
            turn: Arc::default(),
        };
        let health = running.balancer.watch();
        inner.balancers.insert(id.clone(), running);
        health
    };
    // A change of a target's health wakes the tasks that wait for changes.
    let listening = Arc::downgrade(cloud);
    tokio::spawn(async move {
        while health.changed().await.is_ok() {
            let Some(cloud) = listening.upgrade() else {
                return;
            };
            cloud.tell();
        }
    });
    sync(cloud, id).await
}

/// Starts the missing nodes of a load balancer, and stops the surplus ones.
async fn place_nodes(cloud: &Cloud, id: &LoadBalancerId) -> Result<()> {
    let (balancer, missing, surplus) = {
        let inner = cloud.lock();
        let Some(running) = inner.balancers.get(id) else {
            return Ok(());
        };
        let wanted = &find::<LoadBalancer>(&inner.state, id)?.facts.nodes;
        let mut missing = Vec::new();
        for node in wanted
            .iter()
            .filter(|node| !running.zones.contains(&node.zone))
        {
            let namespace = inner.fabric.namespace(&node_interface(id, &node.zone));
            let namespace = namespace.cloned().ok_or_else(|| {
                Error::new(
                    ErrorKind::Other,
                    format_args!("the node in {} has no network", node.zone),
                )
            })?;
            missing.push((node.zone.clone(), node.private, namespace));
        }
        let surplus: Vec<Zone> = running
            .zones
            .iter()
            .filter(|zone| !wanted.iter().any(|node| &node.zone == *zone))
            .cloned()
            .collect();
        (Arc::clone(&running.balancer), missing, surplus)
    };
    for (zone, address, namespace) in missing {
        let pin = Box::new(move || namespace.pin_current_thread());
        balancer
            .add_node(zone.as_str(), address, pin)
            .await
            .map_err(failed)?;
        if let Some(running) = cloud.lock().balancers.get_mut(id) {
            running.zones.insert(zone);
        }
    }
    for zone in surplus {
        balancer
            .remove_node(zone.as_str(), WAIT_TIMEOUT)
            .await
            .map_err(failed)?;
        if let Some(running) = cloud.lock().balancers.get_mut(id) {
            running.zones.remove(&zone);
        }
    }
    Ok(())
}

/// Stops a load balancer, and then removes its record.
pub(in crate::daemon) async fn end(cloud: &Arc<Cloud>, id: &LoadBalancerId) -> Result<()> {
    let running = cloud.lock().balancers.remove(id);
    if let Some(running) = running {
        running.balancer.shutdown(WAIT_TIMEOUT).await;
    }
    cloud.change(|state| {
        state.tables.load_balancers.remove(id);
        Ok(())
    })
}

/// Configures a load balancer with the nodes, listeners and target groups of the records.
pub(in crate::daemon) async fn sync(cloud: &Cloud, id: &LoadBalancerId) -> Result<()> {
    let Some(turn) = cloud
        .lock()
        .balancers
        .get(id)
        .map(|running| Arc::clone(&running.turn))
    else {
        return Ok(());
    };
    let _turn = turn.lock().await;
    place_nodes(cloud, id).await?;
    lead_loopback_ports(cloud, id);
    let (balancer, listeners, groups) = {
        let mut inner = cloud.lock();
        let listeners = listeners(&inner.state, id);
        let wanted = groups_of(&inner.state, id);
        let Some(running) = inner.balancers.get_mut(id) else {
            return Ok(());
        };
        let balancer = Arc::clone(&running.balancer);
        // Target groups are removed last: until then, listeners may still refer to them.
        let known: BTreeSet<_> = running.groups.union(&wanted).cloned().collect();
        running.groups = wanted.clone();
        balancer
            .set_groups(configs(&inner.state, &known)?)
            .map_err(failed)?;
        for (instance, machine) in &inner.state.machines {
            if machine.phase == Phase::Running {
                register_with(&inner, &balancer, &wanted, instance)?;
            }
        }
        (balancer, listeners, configs(&inner.state, &wanted)?)
    };
    balancer.set_listeners(listeners).await.map_err(failed)?;
    balancer.set_groups(groups).map_err(failed)
}

/// Forwards the loopback ports of a load balancer's listeners to its current nodes.
fn lead_loopback_ports(cloud: &Cloud, balancer: &LoadBalancerId) {
    let inner = cloud.lock();
    for (id, published) in &inner.published {
        let Some(entry) = inner.state.tables.listeners.get(id) else {
            continue;
        };
        if entry.spec.balancer.known() == Some(balancer) {
            let nodes = listener_nodes(&inner.state, balancer, entry.spec.port);
            published.set_nodes(&nodes);
        }
    }
}

/// The public addresses and the port of a listener.
pub(in crate::daemon) fn listener_nodes(
    state: &State,
    balancer: &LoadBalancerId,
    port: Port,
) -> Vec<SocketAddr> {
    let addresses = public_addresses(state, balancer).into_iter();
    addresses
        .map(|address| SocketAddrV4::new(address, port.get()).into())
        .collect()
}

/// The load balancer of a listener.
pub(in crate::daemon) fn balancer_of(
    state: &State,
    listener: &ListenerId,
) -> Option<LoadBalancerId> {
    state
        .tables
        .listeners
        .get(listener)?
        .spec
        .balancer
        .known()
        .cloned()
}

/// The load balancers whose listeners forward to a target group.
pub(in crate::daemon) fn balancers_to(state: &State, group: &TargetGroupId) -> Vec<LoadBalancerId> {
    state
        .tables
        .load_balancers
        .keys()
        .filter(|id| groups_of(state, id).contains(group))
        .cloned()
        .collect()
}

/// Registers a running instance with all load balancers of its target groups.
pub(in crate::daemon) fn register(inner: &Inner, instance: &InstanceId) -> Result<()> {
    for running in inner.balancers.values() {
        register_with(inner, &running.balancer, &running.groups, instance)?;
    }
    Ok(())
}

fn register_with(
    inner: &Inner,
    balancer: &Balancer,
    groups: &BTreeSet<TargetGroupId>,
    instance: &InstanceId,
) -> Result<()> {
    for (group, target) in targets_of(&inner.state, instance) {
        if groups.contains(&group) {
            balancer.register(group.as_ref(), target).map_err(failed)?;
        }
    }
    Ok(())
}

/// Deregisters an instance from all load balancers. The futures end with the last request to it.
pub(in crate::daemon) fn deregister(
    inner: &Inner,
    instance: &InstanceId,
) -> Vec<landfall_balancer::Drain> {
    let mut drains = Vec::new();
    for (group, target) in targets_of(&inner.state, instance) {
        for running in inner
            .balancers
            .values()
            .filter(|running| running.groups.contains(&group))
        {
            // A target that is not registered has nothing to drain.
            drains.extend(running.balancer.deregister(group.as_ref(), &target.id));
        }
    }
    drains
}

/// The combined health of an instance in its target groups.
pub(in crate::daemon) fn health(inner: &Inner, instance: &InstanceId) -> Health {
    let mut worst = Health::Healthy;
    for (group, target) in targets_of(&inner.state, instance) {
        for running in inner
            .balancers
            .values()
            .filter(|running| running.groups.contains(&group))
        {
            let health = running.balancer.health(group.as_ref()).unwrap_or_default();
            match health
                .iter()
                .find(|health| health.target.id == target.id)
                .map(|health| health.state)
            {
                Some(HealthState::Unhealthy) => return Health::Unhealthy,
                Some(HealthState::Healthy) => {}
                _ => worst = Health::Unknown,
            }
        }
    }
    worst
}

/// Why an instance is unhealthy: `Target.Timeout (no answer within 5 s)`.
pub(in crate::daemon) fn unhealthy_reason(inner: &Inner, instance: &InstanceId) -> Option<String> {
    let groups = targets_of(&inner.state, instance);
    groups.into_iter().find_map(|(group, target)| {
        let targets = target_health(inner, &group).ok()?;
        let target = targets.into_iter().find(|one| one.id == target.id)?;
        let reason = target.reason?;
        Some(match target.description {
            Some(what) => format!("{reason} ({what})"),
            None => reason.to_string(),
        })
    })
}

/// The number of requests to the targets of a group so far, from all load balancers.
pub(in crate::daemon) fn requests(inner: &Inner, group: &TargetGroupId) -> u64 {
    let users = inner.balancers.values();
    users
        .filter(|running| running.groups.contains(group))
        .filter_map(|running| running.balancer.requests(group.as_ref()).ok())
        .sum()
}

/// The health of a group's targets, as clients see it.
pub(in crate::daemon) fn target_health(
    inner: &Inner,
    group: &TargetGroupId,
) -> Result<Vec<TargetHealth>> {
    find::<TargetGroup>(&inner.state, group)?;
    let users: Vec<_> = inner
        .balancers
        .values()
        .filter(|running| running.groups.contains(group))
        .collect();
    let mut targets = BTreeMap::new();
    for (instance, machine) in &inner.state.machines {
        let Some((_, target)) = targets_of(&inner.state, instance)
            .into_iter()
            .find(|(of, _)| of == group)
        else {
            continue;
        };
        let SocketAddr::V4(address) = target.addr else {
            continue;
        };
        let (state, reason, description) = match machine.phase {
            Phase::Booting => (
                TargetState::Initial,
                Some(HealthReason::RegistrationInProgress),
                None,
            ),
            Phase::Running if users.is_empty() => {
                (TargetState::Unused, Some(HealthReason::NotInUse), None)
            }
            Phase::Running | Phase::Stopping => continue,
            Phase::Ended(_) | Phase::Restarting { .. } | Phase::Stopped => continue,
        };
        let zone = machine.zone.clone();
        targets.insert(
            instance.to_string(),
            TargetHealth {
                id: instance.to_string(),
                address: Some(address),
                zone: Some(zone),
                state,
                reason,
                description,
                since: None,
            },
        );
    }
    for running in users {
        for health in running.balancer.health(group.as_ref()).map_err(failed)? {
            let (Some(machine), SocketAddr::V4(address)) = (
                inner
                    .state
                    .machines
                    .get(&InstanceId::from(health.target.id.clone())),
                health.target.addr,
            ) else {
                continue;
            };
            let mut description = health.description.clone();
            let may_be_elsewhere = matches!(
                health.reason,
                Some(Reason::FailedHealthChecks | Reason::InitialHealthChecking)
            );
            if may_be_elsewhere
                && let Some(instead) = container::listens_on_another_port(
                    inner,
                    &InstanceId::from(health.target.id.clone()),
                    address.port(),
                )
            {
                description = format!("{description}; {instead}");
            }
            let described = TargetHealth {
                id: health.target.id.clone(),
                address: Some(address),
                zone: Some(machine.zone.clone()),
                state: state_of(health.state),
                reason: health.reason.map(reason_of),
                description: Some(description).filter(|text| !text.is_empty()),
                since: Some(health.since),
            };
            targets.insert(health.target.id, described);
        }
    }
    let mut targets: Vec<_> = targets.into_values().collect();
    targets.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
    Ok(targets)
}

fn state_of(state: HealthState) -> TargetState {
    match state {
        HealthState::Initial => TargetState::Initial,
        HealthState::Healthy => TargetState::Healthy,
        HealthState::Unhealthy => TargetState::Unhealthy,
        HealthState::Draining => TargetState::Draining,
        HealthState::Unused => TargetState::Unused,
    }
}

fn reason_of(reason: Reason) -> HealthReason {
    match reason {
        Reason::RegistrationInProgress => HealthReason::RegistrationInProgress,
        Reason::InitialHealthChecking => HealthReason::InitialHealthChecking,
        Reason::ResponseCodeMismatch => HealthReason::ResponseCodeMismatch,
        Reason::Timeout => HealthReason::Timeout,
        Reason::FailedHealthChecks => HealthReason::FailedHealthChecks,
        Reason::NotInUse => HealthReason::NotInUse,
        Reason::DeregistrationInProgress => HealthReason::DeregistrationInProgress,
    }
}

/// The target groups of an instance, and the target in each.
fn targets_of(state: &State, instance: &InstanceId) -> Vec<(TargetGroupId, Target)> {
    let Some(machine) = state.machines.get(instance) else {
        return Vec::new();
    };
    let Some(group) = machine
        .group
        .as_ref()
        .and_then(|id| state.tables.autoscaling_groups.get(id))
    else {
        return Vec::new();
    };
    let ids = group.spec.target_groups.iter().filter_map(|id| id.known());
    ids.filter_map(|id| {
        let port = state.tables.target_groups.get(id)?.spec.port.get();
        let target = Target {
            id: instance.to_string(),
            addr: SocketAddr::V4(SocketAddrV4::new(machine.address, port)),
            zone: machine.zone.to_string(),
        };
        Some((id.clone(), target))
    })
    .collect()
}

/// The target groups to which a load balancer's listeners and rules forward.
fn groups_of(state: &State, id: &LoadBalancerId) -> BTreeSet<TargetGroupId> {
    let mut groups = BTreeSet::new();
    for (listener, entry) in &state.tables.listeners {
        if entry.spec.balancer.known() == Some(id) {
            groups.extend(forwards_to(&entry.spec).cloned());
            let rules = state.tables.listener_rules.values();
            let own = rules.filter(|rule| rule.spec.listener.known() == Some(listener));
            groups.extend(own.filter_map(|rule| rule.spec.target_group.known().cloned()));
        }
    }
    groups
}

/// The target group of a listener's default action. Every listener has one here: redirects are refused.
fn forwards_to(listener: &Listener) -> Option<&TargetGroupId> {
    listener.action.target_group()?.known()
}

fn listeners(state: &State, id: &LoadBalancerId) -> Vec<ListenerConfig> {
    let own = state
        .tables
        .listeners
        .iter()
        .filter(|(_, entry)| entry.spec.balancer.known() == Some(id));
    own.filter_map(|(listener, entry)| {
        let rules = state.tables.listener_rules.values();
        let rules = rules
            .filter(|rule| rule.spec.listener.known() == Some(listener))
            .filter_map(|rule| {
                Some(Rule {
                    priority: rule.spec.priority.into(),
                    conditions: vec![match &rule.spec.condition {
                        landfall_lb::Condition::Path(pattern) => {
                            Condition::PathPattern(vec![pattern.clone()])
                        }
                        landfall_lb::Condition::Host(pattern) => {
                            Condition::HostHeader(vec![pattern.clone()])
                        }
                    }],
                    group: rule.spec.target_group.known()?.to_string(),
                })
            });
        Some(ListenerConfig {
            port: entry.spec.port.get(),
            rules: rules.collect(),
            default_group: forwards_to(&entry.spec)?.to_string(),
        })
    })
    .collect()
}

fn configs(state: &State, groups: &BTreeSet<TargetGroupId>) -> Result<Vec<TargetGroupConfig>> {
    let known = groups
        .iter()
        .filter_map(|id| Some((id, &state.tables.target_groups.get(id)?.spec)));
    known
        .map(|(id, spec)| {
            let check = &spec.health_check;
            let seconds = |seconds: u32| Duration::from_secs(seconds.into());
            Ok(TargetGroupConfig {
                name: id.to_string(),
                health_check: HealthCheckConfig {
                    path: check.path.clone(),
                    port: None,
                    interval: seconds(check.interval),
                    timeout: seconds(check.timeout),
                    healthy_threshold: check.healthy_threshold,
                    unhealthy_threshold: check.unhealthy_threshold,
                    matcher: Matcher::parse(&check.matcher)
                        .map_err(|why| Error::new(ErrorKind::Invalid, why))?,
                },
                deregistration_delay: seconds(spec.deregistration_delay),
            })
        })
        .collect()
}

/// The public addresses of a load balancer's nodes.
pub(in crate::daemon) fn public_addresses(state: &State, id: &LoadBalancerId) -> Vec<Ipv4Addr> {
    state
        .tables
        .load_balancers
        .get(id)
        .map(|entry| entry.facts.nodes.iter().map(|node| node.public).collect())
        .unwrap_or_default()
}

fn failed(error: landfall_balancer::Error) -> Error {
    Error::new(ErrorKind::Other, "the balancer refused").caused_by(error)
}
