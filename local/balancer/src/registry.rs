//! The records of a balancer: nodes, listeners, groups, targets and their health. Each change publishes a new routing
//! table.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Error;
use super::check::{self, Observer};
use super::config::{Attributes, ListenerConfig, Target, TargetGroupConfig};
use super::health::{Health, HealthState, Outcome, TargetHealth};
use super::node::ZoneNode;
use super::table::{Destination, Group, Listener, SharedTable, Table};

/// All records of one balancer.
pub(super) struct Registry {
    pub(super) shared: Arc<SharedTable>,
    state: Mutex<Records>,
    health: watch::Sender<u64>,
    /// For the checks, which must not keep a dropped balancer alive.
    this: Weak<Registry>,
}

#[derive(Default)]
struct Records {
    nodes: BTreeMap<String, ZoneNode>,
    listeners: Vec<ListenerConfig>,
    groups: BTreeMap<String, GroupRecord>,
    serial: u64,
}

struct GroupRecord {
    config: TargetGroupConfig,
    turn: Arc<AtomicUsize>,
    requests: Arc<AtomicU64>,
    targets: BTreeMap<String, TargetRecord>,
}

struct TargetRecord {
    target: Target,
    destination: Arc<Destination>,
    health: Health,
    check: Option<JoinHandle<()>>,
}

impl TargetRecord {
    fn stop_checking(&mut self) {
        if let Some(check) = self.check.take() {
            check.abort();
        }
    }

    fn is_draining(&self) -> bool {
        self.health.state == HealthState::Draining
    }
}

/// A draining target; the future ends when the target is gone.
#[derive(Debug)]
pub struct Drain(JoinHandle<()>);

impl Future for Drain {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // The task cannot panic, and only the end of the runtime cancels it.
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

impl Registry {
    pub(super) fn new(attributes: Attributes) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            shared: Arc::new(SharedTable::new(attributes)),
            state: Mutex::default(),
            health: watch::Sender::new(0),
            this: this.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, Records> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.health.subscribe()
    }

    pub(super) fn has_node(&self, zone: &str) -> bool {
        self.state().nodes.contains_key(zone)
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.state()
            .listeners
            .iter()
            .map(|listener| listener.port)
            .collect()
    }

    pub(super) fn add_node(&self, zone: &str, node: ZoneNode) {
        let mut state = self.state();
        state.nodes.insert(zone.into(), node);
        self.reconcile(&mut state);
    }

    pub(super) fn take_node(&self, zone: &str) -> Option<ZoneNode> {
        let mut state = self.state();
        let node = state.nodes.remove(zone)?;
        self.reconcile(&mut state);
        Some(node)
    }

    pub(super) fn take_nodes(&self) -> Vec<ZoneNode> {
        let mut state = self.state();
        let nodes = std::mem::take(&mut state.nodes).into_values().collect();
        self.reconcile(&mut state);
        nodes
    }

    /// Returns the futures that bind the ports on the nodes.
    pub(super) fn set_listeners(
        &self,
        listeners: Vec<ListenerConfig>,
    ) -> Result<Vec<impl Future<Output = Result<(), Error>> + use<>>, Error> {
        let mut state = self.state();
        let unknown = listeners
            .iter()
            .flat_map(forwards)
            .find(|group| !state.groups.contains_key(*group));
        if let Some(group) = unknown {
            return Err(Error::NoGroup(group.into()));
        }
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
        state.listeners = listeners;
        self.reconcile(&mut state);
        Ok(state
            .nodes
            .values()
            .map(|node| node.listen(ports.clone()))
            .collect())
    }

    pub(super) fn set_groups(&self, groups: Vec<TargetGroupConfig>) -> Result<(), Error> {
        let mut state = self.state();
        let names: BTreeSet<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        for listener in &state.listeners {
            if let Some(group) = forwards(listener).find(|group| !names.contains(group)) {
                return Err(Error::GroupInUse {
                    group: group.into(),
                    port: listener.port,
                });
            }
        }
        for (name, group) in &mut state.groups {
            if !names.contains(name.as_str()) {
                for target in group.targets.values_mut() {
                    target.destination.close();
                    target.stop_checking();
                }
            }
        }
        let names: BTreeSet<String> = names.into_iter().map(String::from).collect();
        state.groups.retain(|name, _| names.contains(name));
        for config in groups {
            match state.groups.get_mut(&config.name) {
                None => {
                    let name = config.name.clone();
                    let group = GroupRecord {
                        config,
                        turn: Arc::default(),
                        requests: Arc::default(),
                        targets: BTreeMap::new(),
                    };
                    state.groups.insert(name, group);
                }
                Some(group) => {
                    if group.config.health_check != config.health_check {
                        // `reconcile` restarts them with the new settings.
                        group
                            .targets
                            .values_mut()
                            .for_each(TargetRecord::stop_checking);
                    }
                    group.config = config;
                }
            }
        }
        self.reconcile(&mut state);
        Ok(())
    }

    pub(super) fn register(&self, name: &str, target: Target) -> Result<(), Error> {
        let mut state = self.state();
        state.serial += 1;
        let serial = state.serial;
        let group = group_mut(&mut state, name)?;
        if let Some(have) = group.targets.get_mut(&target.id) {
            if have.target == target && !have.is_draining() {
                return Ok(());
            }
            have.destination.close();
            have.stop_checking();
        }
        let registered = TargetRecord {
            destination: Arc::new(Destination::new(serial, target.addr)),
            health: Health::registered(SystemTime::now()),
            check: None,
            target: target.clone(),
        };
        group.targets.insert(target.id, registered);
        self.reconcile(&mut state);
        Ok(())
    }

    pub(super) fn deregister(&self, name: &str, id: &str) -> Result<Drain, Error> {
        let mut state = self.state();
        let group = group_mut(&mut state, name)?;
        let delay = group.config.deregistration_delay;
        let Some(target) = group.targets.get_mut(id) else {
            return Err(Error::NotRegistered {
                group: name.into(),
                target: id.into(),
            });
        };
        let destination = Arc::clone(&target.destination);
        if !target.is_draining() {
            target.health.draining(SystemTime::now());
            target.stop_checking();
            // The table changes before the target closes, so a request that finds the target closed finds a newer
            // table.
            self.reconcile(&mut state);
            destination.close();
        }
        drop(state);
        let (this, name, id) = (self.this.clone(), name.to_owned(), id.to_owned());
        Ok(Drain(tokio::spawn(async move {
            // The drain ends in both cases: no request is in flight, or the delay is over.
            let _ = tokio::time::timeout(delay, destination.drained()).await;
            if let Some(registry) = this.upgrade() {
                registry.forget(&name, &id, destination.serial);
            }
        })))
    }

    fn forget(&self, group: &str, id: &str, serial: u64) {
        let mut state = self.state();
        if let Ok(group) = group_mut(&mut state, group)
            && group
                .targets
                .get(id)
                .is_some_and(|target| target.destination.serial == serial)
        {
            group.targets.remove(id);
            self.health.send_modify(|version| *version += 1);
        }
    }

    pub(super) fn health(&self, name: &str) -> Result<Vec<TargetHealth>, Error> {
        let mut state = self.state();
        let group = group_mut(&mut state, name)?;
        Ok(group
            .targets
            .values()
            .map(|registered| TargetHealth {
                target: registered.target.clone(),
                state: registered.health.state,
                reason: registered.health.reason,
                description: registered.health.description.clone(),
                since: registered.health.since,
            })
            .collect())
    }

    pub(super) fn requests(&self, name: &str) -> Result<u64, Error> {
        let mut state = self.state();
        let group = group_mut(&mut state, name)?;
        Ok(group.requests.load(Ordering::Relaxed))
    }

    /// Updates the checks and the routing table from the records.
    fn reconcile(&self, state: &mut Records) {
        let now = SystemTime::now();
        let Records {
            nodes,
            listeners,
            groups,
            ..
        } = state;
        let used: BTreeSet<&str> = listeners.iter().flat_map(forwards).collect();
        for (name, group) in groups.iter_mut() {
            for (id, registered) in &mut group.targets {
                if registered.is_draining() {
                    continue;
                }
                let zone = &registered.target.zone;
                let node = nodes.get(zone);
                let why = match node {
                    _ if !used.contains(name.as_str()) => Some(
                        "Target group is not configured to receive traffic from the load balancer"
                            .to_owned(),
                    ),
                    None => Some(format!(
                        "Target is in an Availability Zone that is not enabled for the load \
                         balancer: {zone}"
                    )),
                    Some(_) => None,
                };
                if let Some(why) = why {
                    registered.stop_checking();
                    registered.health.unused(why, now);
                } else if let (Some(node), None) = (node, &registered.check) {
                    if registered.health.state == HealthState::Unused {
                        registered.health = Health::registered(now);
                    }
                    let reports = Reports {
                        registry: self.this.clone(),
                        group: name.clone(),
                        id: id.clone(),
                        serial: registered.destination.serial,
                    };
                    let config = group.config.health_check.clone();
                    registered.check =
                        Some(node.spawn(check::run(registered.target.addr, config, reports)));
                }
            }
        }
        self.shared.publish(table(state));
        self.health.send_modify(|version| *version += 1);
    }
}

/// Writes the results of one target's checks to the registry.
struct Reports {
    registry: Weak<Registry>,
    group: String,
    id: String,
    serial: u64,
}

impl Reports {
    /// Changes the target's health; `None` when it is no longer registered, or was registered again.
    fn update<T>(&self, change: impl FnOnce(&mut Health, &TargetGroupConfig) -> T) -> Option<T> {
        let registry = self.registry.upgrade()?;
        let mut state = registry.state();
        let group = state.groups.get_mut(&self.group)?;
        let registered = group.targets.get_mut(&self.id)?;
        if registered.destination.serial != self.serial {
            return None;
        }
        let before = registered.health.clone();
        let result = change(&mut registered.health, &group.config);
        let after = &registered.health;
        let (changed, routes) = (*after != before, after.state != before.state);
        if after.state == HealthState::Healthy {
            // Its checks have connected to the target.
            registered.destination.reach();
        }
        if routes {
            registry.shared.publish(table(&state));
        }
        if changed {
            registry.health.send_modify(|version| *version += 1);
        }
        Some(result)
    }
}

impl Observer for Reports {
    fn started(&self) {
        self.update(|health, _| health.checking());
    }

    fn ended(&self, outcome: Outcome, counted: bool) -> Option<bool> {
        let state = self.update(|health, config| {
            health.record(&outcome, counted, &config.health_check, SystemTime::now());
            health.state
        })?;
        match state {
            HealthState::Draining | HealthState::Unused => None,
            state => Some(state == HealthState::Initial),
        }
    }
}

fn group_mut<'a>(state: &'a mut Records, name: &str) -> Result<&'a mut GroupRecord, Error> {
    state
        .groups
        .get_mut(name)
        .ok_or_else(|| Error::NoGroup(name.into()))
}

/// The groups that a listener forwards to.
fn forwards(listener: &ListenerConfig) -> impl Iterator<Item = &str> {
    let groups = listener.rules.iter().map(|rule| rule.group.as_str());
    groups.chain([listener.default_group.as_str()])
}

/// The routing table for the records.
fn table(state: &Records) -> Table {
    let mut table = Table::default();
    for (name, group) in &state.groups {
        let in_state = |wanted: &[HealthState]| -> Vec<Arc<Destination>> {
            group
                .targets
                .values()
                .filter(|registered| wanted.contains(&registered.health.state))
                .map(|registered| Arc::clone(&registered.destination))
                .collect()
        };
        let all = in_state(&[
            HealthState::Initial,
            HealthState::Healthy,
            HealthState::Unhealthy,
        ]);
        table
            .open
            .extend(all.iter().map(|destination| destination.serial));
        // Fail open: if no target is healthy, all of them get requests.
        let mut routable = in_state(&[HealthState::Healthy]);
        if routable.is_empty() {
            routable = all;
        }
        let turn = Arc::clone(&group.turn);
        let requests = Arc::clone(&group.requests);
        table.groups.insert(
            name.clone(),
            Arc::new(Group {
                name: name.clone(),
                routable,
                turn,
                requests,
            }),
        );
    }
    for listener in &state.listeners {
        // Groups are checked when listeners are set. A listener with a missing group is left out, and its requests
        // get a 503.
        let group = |name: &String| table.groups.get(name).cloned();
        let mut rules: Vec<_> = listener
            .rules
            .iter()
            .filter_map(|rule| Some((rule.clone(), group(&rule.group)?)))
            .collect();
        rules.sort_by_key(|(rule, _)| rule.priority);
        if let Some(default) = group(&listener.default_group) {
            table
                .listeners
                .insert(listener.port, Arc::new(Listener { rules, default }));
        }
    }
    table
}
