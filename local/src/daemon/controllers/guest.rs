//! What runs in an instance: booted, followed to its end, stopped.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_compute::{HostKey, Instance, KeyPair, PublicKey};
use landfall_network::Subnet;
use landfall_provider::{
    AutoscalingGroupId, Error, ErrorKind, Input, InstanceId, KeyPairId, Resource, Result,
};
use tokio::time::Instant;

use super::{balance, keeper, publish, single};
use crate::daemon::records::group;
use crate::daemon::records::kinds::known;
use crate::daemon::records::machine::{InstanceRecord, Phase};
use crate::daemon::records::state::State;
use crate::daemon::records::table::find;
use crate::daemon::records::topology::instance_interface;
use crate::daemon::{Cloud, Inner};
use crate::ssh::{self, Inside, SshListener};
use landfall_kernel::log;
use landfall_kernel::netns::Namespace;
use landfall_sandbox::{Output, Running, Spec};

/// For how long a container may go on after it was asked to stop, as with `docker stop`.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How many bytes of an instance's output are kept.
const OUTPUT_KEPT: usize = 64 << 10;

/// How many instances of a group that ended by themselves are remembered.
const ENDED_KEPT: usize = 4;

/// What runs in an instance.
#[derive(Debug)]
pub(crate) struct Container {
    output: Arc<Output>,
    running: Option<Arc<Running>>,
    /// Its SSH server.
    door: Option<SshListener>,
}

impl Container {
    /// What it has written.
    pub(in crate::daemon) fn output(&self) -> &Output {
        &self.output
    }

    /// The key by which SSH clients know it, if it can be logged in to.
    pub(in crate::daemon) fn host_key(&self) -> Option<&HostKey> {
        Some(self.door.as_ref()?.host_key())
    }

    /// Its container, once that was started.
    pub(in crate::daemon) fn running(&self) -> Option<Arc<Running>> {
        self.running.clone()
    }
}

impl Container {
    /// Its first process, if it runs.
    pub(in crate::daemon) fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.pid())
    }
}

/// Starts a single instance, whose record was just made.
pub(in crate::daemon) fn start_single(cloud: &Arc<Cloud>, id: &InstanceId) -> Result<()> {
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
            key: public_key(state, entry.spec.key.as_ref())?,
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
        publish::publish_instance(cloud, id)?;
        single::supervise(cloud, id.clone());
    } else {
        run(cloud, id.clone());
    }
    Ok(())
}

/// Ends a single instance, and then its record.
pub(in crate::daemon) fn end_single(cloud: &Arc<Cloud>, id: &InstanceId) {
    publish::withdraw_instance(cloud, id);
    let (cloud, id) = (Arc::clone(cloud), id.clone());
    tokio::spawn(async move {
        stop(&cloud, &id).await;
        let gone = cloud.change(|state| {
            state.tables.instances.remove(&id);
            state.machines.remove(&id);
            Ok(())
        });
        if let Err(error) = gone {
            log(format_args!("{id}: {error}"));
        }
    });
}

/// Boots an instance and follows it to its end.
pub(in crate::daemon) fn run(cloud: &Arc<Cloud>, id: InstanceId) {
    let cloud = Arc::clone(cloud);
    tokio::spawn(async move {
        let how = match boot(&cloud, &id).await {
            Ok(None) => return,
            Ok(Some(running)) => running.how().await,
            Err(error) => not_started(&id, &error),
        };
        ended(&cloud, &id, &how);
    });
}

/// Starts what the instance is to run; `None` when that is nothing, or it is not wanted any more.
pub(in crate::daemon) async fn boot(
    cloud: &Arc<Cloud>,
    id: &InstanceId,
) -> std::result::Result<Option<Arc<Running>>, landfall_sandbox::Error> {
    let (machine, namespace, output) = {
        let mut inner = cloud.lock();
        // One whose container is started again goes on where it was.
        let before = inner.guests.get(id).map(|guest| Arc::clone(&guest.output));
        let output = before.unwrap_or_else(|| Arc::new(Output::new(OUTPUT_KEPT)));
        let Some(machine) = inner.state.machines.get(id).cloned() else {
            return Ok(None);
        };
        let namespace = inner.fabric.namespace(&instance_interface(id)).cloned();
        inner.guests.insert(
            id.clone(),
            Container {
                output: Arc::clone(&output),
                running: None,
                door: None,
            },
        );
        (machine, namespace, output)
    };
    let invalid = |problem: &str| landfall_sandbox::Error::Invalid {
        id: id.to_string(),
        problem: problem.to_owned(),
    };
    let Some(namespace) = namespace else {
        return Err(invalid("it has no network"));
    };
    open_door(cloud, id, &machine, &namespace);
    let Some(workload) = &machine.workload else {
        started(cloud, id, None);
        return Ok(None);
    };
    let reference = workload
        .image
        .known()
        .map(ToString::to_string)
        .unwrap_or_default();
    let Some((_, digest)) = reference.split_once('@') else {
        return Err(invalid("its image is not named by digest"));
    };
    let (store, digest) = (machine.image_store.clone(), digest.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || {
        landfall_sandbox::unpack(&store, &digest, &store.join("unpacked"))
    })
    .await;
    let image = unpacked.unwrap_or_else(|_| Err(invalid("unpacking its image panicked")))?;

    let mut env = workload.env.clone();
    machine.secrets.add_to(&mut env);
    env.extend([
        ("PORT".to_owned(), workload.port.to_string()),
        ("LANDFALL_INSTANCE_ID".to_owned(), id.to_string()),
        ("LANDFALL_ZONE".to_owned(), machine.zone.to_string()),
    ]);
    let spec = Spec {
        id: id.to_string(),
        rootfs: image.rootfs,
        config: image.config,
        env,
        hosts: format!(
            "127.0.0.1 localhost\n{} {}\n",
            machine.address, machine.hostname
        ),
        hostname: machine.hostname,
        // There is no name server in this cloud.
        resolv_conf: String::new(),
        scratch: cloud.scratch.clone(),
        limits: workload.limits,
        limiter: Arc::clone(&cloud.limiter),
        init: workload.init,
    };
    let descriptor = namespace
        .as_fd()
        .try_clone_to_owned()
        .map_err(|_| invalid("its network cannot be opened"))?;
    let running = Arc::new(landfall_sandbox::start(&spec, descriptor, output).await?);
    for note in running.notes() {
        log(format_args!("{id}: {note}"));
    }
    started(cloud, id, Some(Arc::clone(&running)));
    Ok(Some(running))
}

/// Starts the SSH server of an instance that somebody may log in to, and of one that is there for nothing else.
fn open_door(cloud: &Arc<Cloud>, id: &InstanceId, machine: &InstanceRecord, namespace: &Namespace) {
    let is_bastion = machine.workload.is_none();
    if machine.key.is_none() && !is_bastion {
        return;
    }
    let inside = if is_bastion {
        Inside::Bastion
    } else {
        let (cloud, id) = (Arc::downgrade(cloud), id.clone());
        Inside::Container(Box::new(move || {
            cloud.upgrade()?.lock().guests.get(&id)?.running()
        }))
    };
    let name = machine.hostname.clone();
    let host = ssh::SshHost::new(name, namespace.clone(), machine.key.as_ref(), inside);
    let address = SocketAddr::from((machine.address, ssh::PORT));
    match cloud.ssh.open(address, host) {
        Ok(door) => {
            if let Some(guest) = cloud.lock().guests.get_mut(id) {
                guest.door = Some(door);
            }
        }
        Err(error) => log(format_args!("{id}: no SSH server: {error}")),
    }
}

/// The public key of a key pair. A version of a template may name one that is gone: nobody can log in then.
pub(in crate::daemon) fn public_key(
    state: &State,
    key: Option<&Input<KeyPairId>>,
) -> Result<Option<PublicKey>> {
    let Some(key) = key else { return Ok(None) };
    let found = find::<KeyPair>(state, known(key)?).ok();
    Ok(found.map(|entry| entry.spec.public_key.clone()))
}

/// Notes that an instance runs, and lets the balancers know.
fn started(cloud: &Cloud, id: &InstanceId, running: Option<Arc<Running>>) {
    let mut inner = cloud.lock();
    if let Some(guest) = inner.guests.get_mut(id) {
        guest.running = running;
    }
    match inner.state.machines.get_mut(id) {
        Some(machine) if machine.phase == Phase::Booting => machine.phase = Phase::Running,
        // Whoever wanted it gone meanwhile waits for it.
        _ => {}
    }
    if inner
        .state
        .machines
        .get(id)
        .is_some_and(|machine| machine.phase == Phase::Running)
        && let Err(error) = balance::register(&inner, id)
    {
        log(format_args!("{id}: {error}"));
    }
    drop(inner);
    cloud.tell();
}

/// Notes that an instance has ended by itself: it gives its network back and is remembered for a while.
fn ended(cloud: &Cloud, id: &InstanceId, how: &str) {
    let was_healthy = {
        let mut inner = cloud.lock();
        if let Some(guest) = inner.guests.get_mut(id) {
            guest.door = None;
        }
        let healthy = balance::health(&inner, id) == group::Health::Healthy;
        // Nobody is there to finish anything: no draining to wait for.
        drop(balance::deregister(&inner, id));
        healthy
    };
    let changed = cloud.change(|state| {
        let Some(machine) = state.machines.get_mut(id) else {
            return Ok(());
        };
        if machine.phase == Phase::Stopping {
            // Asked for; who asked takes the record away.
            return Ok(());
        }
        machine.phase = Phase::Ended(how.to_owned());
        machine.ended = Some(SystemTime::now());
        machine.was_healthy |= was_healthy;
        let machine = machine.clone();
        keeper::record_exit(state, &machine, how);
        if let Some(group) = &machine.group {
            forget_oldest(state, group);
        }
        Ok(())
    });
    if let Err(error) = changed {
        log(format_args!("{id}: {error}"));
    }
}

fn forget_oldest(state: &mut State, group: &AutoscalingGroupId) {
    let ended = state.machines.iter().filter(|(_, machine)| {
        machine.group.as_ref() == Some(group) && matches!(machine.phase, Phase::Ended(_))
    });
    let mut ended: Vec<_> = ended
        .map(|(id, machine)| (machine.launched, id.clone()))
        .collect();
    ended.sort();
    for (_, id) in ended.iter().rev().skip(ENDED_KEPT) {
        state.machines.remove(id);
    }
}

/// Drains and stops what runs in an instance.
pub(in crate::daemon) async fn stop(cloud: &Cloud, id: &InstanceId) {
    let drains = {
        let mut inner = cloud.lock();
        if let Some(machine) = inner.state.machines.get_mut(id) {
            machine.phase = Phase::Stopping;
        }
        balance::deregister(&inner, id)
    };
    cloud.tell();
    futures::future::join_all(drains).await;
    // One that is still being booted is stopped as soon as it runs.
    let mut changes = cloud.changed.subscribe();
    let running = loop {
        changes.mark_unchanged();
        match cloud.lock().guests.get(id) {
            Some(guest) if guest.running.is_some() => break guest.running.clone(),
            Some(guest) if Arc::strong_count(&guest.output) > 1 => {}
            _ => break None,
        }
        if changes.changed().await.is_err() {
            break None;
        }
    };
    if let Some(running) = running {
        running.stop(STOP_GRACE).await;
    }
    if let Some(guest) = cloud.lock().guests.get_mut(id) {
        guest.door = None;
    }
}

/// The keys by which SSH clients know an instance; none, if nobody can log in to it.
pub(in crate::daemon) fn host_keys(inner: &Inner, id: &InstanceId) -> Result<Vec<HostKey>> {
    let guest = inner.guests.get(id).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", Instance::KIND),
        )
    })?;
    Ok(guest.host_key().cloned().into_iter().collect())
}

/// Where the service in an instance listens, if that is not the port that it is asked on.
pub(in crate::daemon) fn listens_elsewhere(
    inner: &Inner,
    id: &InstanceId,
    port: u16,
) -> Option<String> {
    let guest = inner.guests.get(id)?;
    let mut listening = landfall_sandbox::listening(guest.running.as_ref()?.pid())?;
    if guest.door.is_some() {
        // The SSH server of this provider is no part of the service.
        listening.open.remove(&ssh::PORT);
    }
    landfall_sandbox::instead(&listening, port)
}

/// What ran in an instance has ended.
pub(in crate::daemon) fn forget_running(cloud: &Cloud, id: &InstanceId) {
    if let Some(guest) = cloud.lock().guests.get_mut(id) {
        guest.running = None;
    }
}

/// The last lines of an instance.
pub(in crate::daemon) fn last_output(
    inner: &Inner,
    id: &InstanceId,
    lines: usize,
) -> Result<Vec<String>> {
    let guest = inner.guests.get(id).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", Instance::KIND),
        )
    })?;
    Ok(guest
        .output
        .tail(lines)
        .into_iter()
        .map(|line| line.text)
        .collect())
}

/// That an instance did not start, for readers who know which one it is.
pub(in crate::daemon) fn not_started(id: &InstanceId, error: &landfall_sandbox::Error) -> String {
    let why = with_causes(error);
    let doing = format!("start instance {id}: ");
    format!(
        "did not start: {}",
        why.strip_prefix(&doing).unwrap_or(&why)
    )
}

pub(in crate::daemon) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
