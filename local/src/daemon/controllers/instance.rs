//! Single instances: their container is restarted when it ends, and they can be stopped and started with the same
//! addresses.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use landfall_compute::{Instance, SingleInstance, SingleInstanceState};
use landfall_network::Subnet;
use landfall_provider::{Error, ErrorKind, InstanceId, Result};
use tokio::time::Instant;

use super::hooks::Hooks;
use super::lifecycle;
use crate::daemon::records::kinds::instance::public_address;
use crate::daemon::records::kinds::known;
use crate::daemon::records::machine::{InstanceRecord, Phase};
use crate::daemon::records::state::State;
use crate::daemon::records::table::find;
use crate::daemon::runtime::cloud::Cloud;
use crate::daemon::runtime::{container, loopback};
use tracing::{info, warn};

impl Hooks for Instance {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        launch(cloud, id)
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        cloud.change(|state| state.end::<Self>(id))?;
        terminate(cloud, id);
        Ok(())
    }
}

/// Starts a single instance after its record was created.
fn launch(cloud: &Arc<Cloud>, id: &InstanceId) -> Result<()> {
    let runs_container = cloud.change(|state| {
        let entry = find::<Instance>(state, id)?;
        let subnet = known(&entry.spec.subnet)?.clone();
        let machine = InstanceRecord {
            group: None,
            hostname: format!("{}-{}", entry.stack, entry.name),
            zone: find::<Subnet>(state, &subnet)?.spec.zone.clone(),
            address: state.new_private_address(&subnet)?,
            subnet,
            groups: entry
                .spec
                .groups
                .iter()
                .map(|id| known(id).cloned())
                .collect::<Result<_>>()?,
            workload: entry.spec.workload.clone(),
            key: container::public_key(state, entry.spec.key.as_ref())?,
            image_store: entry.facts.image_store.clone(),
            secrets: entry.facts.secrets.clone(),
            template_version: 1,
            phase: Phase::Booting,
            launched: Instant::now(),
            ended: None,
            was_healthy: false,
        };
        let runs_container = machine.workload.is_some();
        state.machines.insert(id.clone(), machine);
        Ok(runs_container)
    })?;
    if runs_container {
        publish(cloud, id)?;
        supervise(cloud, id.clone());
    } else {
        lifecycle::run(cloud, id.clone());
    }
    Ok(())
}

/// Stops a single instance, and then removes its record.
fn terminate(cloud: &Arc<Cloud>, id: &InstanceId) {
    withdraw(cloud, id);
    let (cloud, id) = (Arc::clone(cloud), id.clone());
    tokio::spawn(async move {
        lifecycle::stop(&cloud, &id).await;
        let gone = cloud.change(|state| {
            state.tables.instances.remove(&id);
            state.machines.remove(&id);
            Ok(())
        });
        if let Err(error) = gone {
            warn!(instance = %id, "{error}");
        }
    });
}

/// Opens the loopback port of an instance with a public address.
fn publish(cloud: &Arc<Cloud>, id: &InstanceId) -> Result<()> {
    let (wanted, stack, entrance) = {
        let inner = cloud.lock();
        let entry = find::<Instance>(&inner.state, id)?;
        let Some(entrance) = entrance(&inner.state, id) else {
            return Ok(());
        };
        (entry.facts.wanted_port, entry.stack.clone(), entrance)
    };
    let (port, opened) = loopback::open(cloud, wanted, stack.as_str(), &[entrance])?;
    let mut inner = cloud.lock();
    inner.entrances.insert(id.clone(), opened);
    if let Some(entry) = inner.state.tables.instances.get_mut(id) {
        entry.facts.published_port = Some(port);
    }
    drop(inner);
    cloud.tell();
    Ok(())
}

/// Closes the loopback port of an instance.
fn withdraw(cloud: &Cloud, id: &InstanceId) {
    drop(cloud.lock().entrances.remove(id));
}

/// The pause before a restart; it doubles each time, as in Docker.
///
/// <https://docs.docker.com/reference/cli/docker/container/run/#restart>
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A container that ran this long was started successfully: the count of failures starts again.
const STEADY: Duration = Duration::from_secs(10);

/// Starts the task that restarts an instance's container until the instance is stopped or deleted.
pub(in crate::daemon) fn supervise(cloud: &Arc<Cloud>, id: InstanceId) {
    let cloud = Arc::clone(cloud);
    tokio::spawn(async move {
        // A start after a stop begins another task.
        let Some(launched) = machine(&cloud, &id, |machine| machine.launched) else {
            return;
        };
        let mut times = 0;
        loop {
            let began = Instant::now();
            let how = match lifecycle::start(&cloud, &id).await {
                Ok(None) => return,
                Ok(Some(running)) => running.how().await,
                Err(error) => container::not_started(&id, &error),
            };
            container::forget_running(&cloud, &id);
            times = if began.elapsed() > STEADY {
                1
            } else {
                times + 1
            };
            info!(instance = %id, "its container {how}, {times} times in a row");
            let restarting = Phase::Restarting { how, times };
            if !enter(&cloud, &id, launched, restarting) {
                return;
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << (times - 1).min(16));
            if !rest(&cloud, &id, launched, pause.min(LONGEST_PAUSE)).await
                || !enter(&cloud, &id, launched, Phase::Booting)
            {
                return;
            }
        }
    });
}

/// Enters the next phase, unless the instance was stopped or deleted in the meantime.
fn enter(cloud: &Cloud, id: &InstanceId, launched: Instant, phase: Phase) -> bool {
    let mut inner = cloud.lock();
    let machine = inner.state.machines.get_mut(id);
    let Some(machine) = machine.filter(|machine| is_kept_running(machine, launched)) else {
        return false;
    };
    machine.phase = phase;
    drop(inner);
    cloud.tell();
    true
}

fn is_kept_running(machine: &InstanceRecord, launched: Instant) -> bool {
    let runs = matches!(
        machine.phase,
        Phase::Booting | Phase::Running | Phase::Restarting { .. }
    );
    runs && machine.launched == launched
}

/// Waits; false as soon as the instance should no longer run.
async fn rest(cloud: &Cloud, id: &InstanceId, launched: Instant, pause: Duration) -> bool {
    let mut changes = cloud.changed.subscribe();
    let pause = tokio::time::sleep(pause);
    tokio::pin!(pause);
    loop {
        changes.mark_unchanged();
        if machine(cloud, id, |machine| is_kept_running(machine, launched)) != Some(true) {
            return false;
        }
        tokio::select! {
            () = &mut pause => return true,
            _ = changes.changed() => {}
        }
    }
}

fn machine<T>(cloud: &Cloud, id: &InstanceId, ask: impl FnOnce(&InstanceRecord) -> T) -> Option<T> {
    cloud.lock().state.machines.get(id).map(ask)
}

/// Begins to stop an instance.
pub(in crate::daemon) fn stop(cloud: &Arc<Cloud>, id: &InstanceId) -> Result<()> {
    {
        let mut inner = cloud.lock();
        let machine = own(&mut inner.state, id)?;
        match machine.phase {
            Phase::Stopping | Phase::Stopped => return Ok(()),
            Phase::Ended(_) => return Err(ended(id)),
            Phase::Booting | Phase::Running | Phase::Restarting { .. } => {
                machine.phase = Phase::Stopping;
            }
        }
    }
    cloud.tell();
    let (cloud, id) = (Arc::clone(cloud), id.clone());
    tokio::spawn(async move {
        lifecycle::stop(&cloud, &id).await;
        container::forget_running(&cloud, &id);
        let mut inner = cloud.lock();
        // The task that deletes an instance removes its record.
        if let Ok(machine) = own(&mut inner.state, &id) {
            machine.phase = Phase::Stopped;
        }
        drop(inner);
        cloud.tell();
    });
    Ok(())
}

/// Begins to start an instance that was stopped.
pub(in crate::daemon) fn start(cloud: &Arc<Cloud>, id: &InstanceId) -> Result<()> {
    {
        let mut inner = cloud.lock();
        let machine = own(&mut inner.state, id)?;
        match machine.phase {
            Phase::Booting | Phase::Running | Phase::Restarting { .. } => return Ok(()),
            Phase::Ended(_) => return Err(ended(id)),
            Phase::Stopping => {
                return Err(Error::new(
                    ErrorKind::InUse,
                    format_args!("{id} is still being stopped"),
                ));
            }
            Phase::Stopped => {
                machine.phase = Phase::Booting;
                machine.launched = Instant::now();
            }
        }
    }
    cloud.tell();
    supervise(cloud, id.clone());
    Ok(())
}

/// The record of a single instance that is not being deleted.
fn own<'a>(state: &'a mut State, id: &InstanceId) -> Result<&'a mut InstanceRecord> {
    if find::<Instance>(state, id)?.ending {
        return Err(ended(id));
    }
    state.machines.get_mut(id).ok_or_else(|| ended(id))
}

fn ended(id: &InstanceId) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format_args!("{id} has ended or is terminating"),
    )
}

/// The state of a single instance, and its address on this machine.
pub(in crate::daemon) fn standing(state: &State, id: &InstanceId) -> Option<SingleInstance> {
    let entry = state.tables.instances.get(id)?;
    let machine = state.machines.get(id);
    let state_now = match machine.map(|machine| &machine.phase) {
        _ if entry.ending => SingleInstanceState::Ended {
            how: "it is terminating".to_owned(),
        },
        None | Some(Phase::Booting) => SingleInstanceState::Pending,
        Some(Phase::Running) => SingleInstanceState::Up,
        Some(Phase::Restarting { how, times }) => SingleInstanceState::Failing {
            how: how.clone(),
            times: *times,
        },
        Some(Phase::Stopping) => SingleInstanceState::Stopping,
        Some(Phase::Stopped) => SingleInstanceState::Stopped,
        Some(Phase::Ended(how)) => SingleInstanceState::Ended { how: how.clone() },
    };
    let published = entry.facts.published_port;
    Some(SingleInstance {
        zone: machine.map(|machine| machine.zone.clone()),
        private_address: machine.map(|machine| machine.address),
        public_address: public_address(state, id),
        state: state_now,
        url: published.map(|port| format!("http://{}.localhost:{port}/", entry.stack)),
        door: published.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    })
}

/// The public address and the port of an instance's container.
pub(in crate::daemon) fn entrance(state: &State, id: &InstanceId) -> Option<SocketAddr> {
    let workload = state.tables.instances.get(id)?.spec.workload.as_ref()?;
    let address = public_address(state, id)?;
    let socket = SocketAddrV4::new(address, workload.port.get());
    Some(socket.into())
}
