//! The container and the SSH server of an instance.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use landfall_compute::{HostKey, Instance, KeyPair, PublicKey};
use landfall_provider::{Error, ErrorKind, Input, InstanceId, KeyPairId, Resource, Result};

use crate::daemon::records::kinds::known;
use crate::daemon::records::machine::InstanceRecord;
use crate::daemon::records::state::State;
use crate::daemon::records::table::find;
use crate::daemon::records::topology::instance_interface;
use crate::daemon::runtime::cloud::{Cloud, Inner};
use crate::ssh::{self, Inside, SshListener};
use landfall_kernel::netns::Namespace;
use landfall_sandbox::{Output, Running, Spec};
use tracing::warn;

/// The part of an instance's output that is kept, in bytes.
const OUTPUT_KEPT: usize = 64 << 10;

/// The container of an instance, its output and its SSH server.
#[derive(Debug)]
pub(crate) struct Container {
    output: Arc<Output>,
    running: Option<Arc<Running>>,
    /// Its SSH server.
    ssh_listener: Option<SshListener>,
}

impl Container {
    /// The output of the container.
    pub(in crate::daemon) fn output(&self) -> &Output {
        &self.output
    }

    /// The host key of its SSH server, if it has one.
    pub(in crate::daemon) fn host_key(&self) -> Option<&HostKey> {
        Some(self.ssh_listener.as_ref()?.host_key())
    }

    /// Whether the start is still in progress: the starting task holds the output, too.
    pub(in crate::daemon) fn is_starting(&self) -> bool {
        self.running.is_none() && Arc::strong_count(&self.output) > 1
    }

    /// The running container, after its start.
    pub(in crate::daemon) fn running(&self) -> Option<Arc<Running>> {
        self.running.clone()
    }
}

impl Container {
    /// The container's first process, if it runs.
    pub(in crate::daemon) fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.pid())
    }
}

/// The result of a start.
#[derive(Debug)]
pub(in crate::daemon) enum Started {
    /// The instance was deleted before.
    Unwanted,
    /// A bastion: it has an SSH server and no container.
    WithoutContainer,
    /// Its container runs.
    Container(Arc<Running>),
}

/// Starts the container and the SSH server of an instance.
pub(in crate::daemon) async fn start(
    cloud: &Arc<Cloud>,
    id: &InstanceId,
) -> std::result::Result<Started, landfall_sandbox::Error> {
    let (machine, namespace, output) = {
        let mut inner = cloud.lock();
        // A restarted container continues the output of the previous one.
        let before = inner
            .containers
            .get(id)
            .map(|container| Arc::clone(&container.output));
        let output = before.unwrap_or_else(|| Arc::new(Output::new(OUTPUT_KEPT)));
        let Some(machine) = inner.state.machines.get(id).cloned() else {
            return Ok(Started::Unwanted);
        };
        let namespace = inner.fabric.namespace(&instance_interface(id)).cloned();
        inner.containers.insert(
            id.clone(),
            Container {
                output: Arc::clone(&output),
                running: None,
                ssh_listener: None,
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
    open_ssh(cloud, id, &machine, &namespace);
    let Some(workload) = &machine.workload else {
        return Ok(Started::WithoutContainer);
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
        // The local cloud has no name server.
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
        warn!(instance = %id, "{note}");
    }
    if let Some(container) = cloud.lock().containers.get_mut(id) {
        container.running = Some(Arc::clone(&running));
    }
    Ok(Started::Container(running))
}

/// Starts the SSH server of an instance with a key pair, or of a bastion.
fn open_ssh(cloud: &Arc<Cloud>, id: &InstanceId, machine: &InstanceRecord, namespace: &Namespace) {
    let is_bastion = machine.workload.is_none();
    if machine.key.is_none() && !is_bastion {
        return;
    }
    let inside = if is_bastion {
        Inside::Bastion
    } else {
        let (cloud, id) = (Arc::downgrade(cloud), id.clone());
        Inside::Container(Box::new(move || {
            cloud.upgrade()?.lock().containers.get(&id)?.running()
        }))
    };
    let name = machine.hostname.clone();
    let host = ssh::SshHost::new(name, namespace.clone(), machine.key.as_ref(), inside);
    let address = SocketAddr::from((machine.address, ssh::PORT));
    match cloud.ssh.open(address, host) {
        Ok(ssh_listener) => {
            if let Some(container) = cloud.lock().containers.get_mut(id) {
                container.ssh_listener = Some(ssh_listener);
            }
        }
        Err(error) => warn!(instance = %id, "no SSH server: {error}"),
    }
}

/// The public key of a key pair; `None` if it was deleted after the template version that names it.
pub(in crate::daemon) fn public_key(
    state: &State,
    key: Option<&Input<KeyPairId>>,
) -> Result<Option<PublicKey>> {
    let Some(key) = key else { return Ok(None) };
    let found = find::<KeyPair>(state, known(key)?).ok();
    Ok(found.map(|entry| entry.spec.public_key.clone()))
}

/// Closes the SSH server of an instance.
pub(in crate::daemon) fn close_ssh(inner: &mut Inner, id: &InstanceId) {
    if let Some(container) = inner.containers.get_mut(id) {
        container.ssh_listener = None;
    }
}

/// The SSH host keys of an instance; empty without an SSH server.
pub(in crate::daemon) fn host_keys(inner: &Inner, id: &InstanceId) -> Result<Vec<HostKey>> {
    let container = inner.containers.get(id).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", Instance::KIND),
        )
    })?;
    Ok(container.host_key().cloned().into_iter().collect())
}

/// A description of where the service listens, if it does not listen on the port of its target group.
pub(in crate::daemon) fn listens_on_another_port(
    inner: &Inner,
    id: &InstanceId,
    port: u16,
) -> Option<String> {
    let container = inner.containers.get(id)?;
    let mut listening = landfall_sandbox::listening(container.running.as_ref()?.pid())?;
    if container.ssh_listener.is_some() {
        // The SSH server belongs to this provider, not to the service.
        listening.open.remove(&ssh::PORT);
    }
    landfall_sandbox::instead(&listening, port)
}

/// Records that the container of an instance has ended.
pub(in crate::daemon) fn forget_running(cloud: &Cloud, id: &InstanceId) {
    if let Some(container) = cloud.lock().containers.get_mut(id) {
        container.running = None;
    }
}

/// The last lines of an instance's output.
pub(in crate::daemon) fn last_output(
    inner: &Inner,
    id: &InstanceId,
    lines: usize,
) -> Result<Vec<String>> {
    let container = inner.containers.get(id).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", Instance::KIND),
        )
    })?;
    Ok(container
        .output
        .tail(lines)
        .into_iter()
        .map(|line| line.text)
        .collect())
}

/// The reason why an instance did not start, without its id.
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
