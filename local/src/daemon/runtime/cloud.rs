//! The state of the process: the records, the network and what runs, under one lock.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landfall_balancer::Forwarder;
use landfall_provider::{Error, ErrorKind, InstanceId, ListenerId, LoadBalancerId, Result};
use landfall_sandbox::Limiter;
use landfall_vnet::Fabric;
use tokio::sync::watch;

use super::balancer::RunningBalancer;
use super::container::Container;
use super::internet;
use super::lock::Locks;
use super::loopback::Published;
use crate::daemon::records::state::State;
use crate::daemon::records::topology;
use crate::process::Outer;
use crate::ssh::Servers;

/// The cloud; all tasks share it.
pub(crate) struct Cloud {
    inner: Mutex<Inner>,
    pub(in crate::daemon) locks: Locks,
    pub(in crate::daemon) outer: Outer,
    /// Forwards the connections to loopback ports.
    pub(in crate::daemon) forwarder: Forwarder,
    /// The SSH servers of the instances.
    pub(in crate::daemon) ssh: Servers,
    pub(in crate::daemon) scratch: PathBuf,
    /// Enforces the limits of instances.
    pub(in crate::daemon) limiter: Arc<Limiter>,
    /// Counts the changes; tasks that wait for one subscribe.
    pub(in crate::daemon) changed: watch::Sender<u64>,
}

/// The data under the lock.
pub(crate) struct Inner {
    pub(in crate::daemon) state: State,
    pub(in crate::daemon) fabric: Fabric,
    pub(in crate::daemon) balancers: BTreeMap<LoadBalancerId, RunningBalancer>,
    pub(in crate::daemon) published: BTreeMap<ListenerId, Published>,
    /// The loopback ports of single instances.
    pub(in crate::daemon) entrances: BTreeMap<InstanceId, Published>,
    pub(in crate::daemon) containers: BTreeMap<InstanceId, Container>,
}

impl Cloud {
    /// A cloud that contains nothing.
    ///
    /// # Errors
    /// When the kernel refuses its network or a thread.
    pub(in crate::daemon) async fn start(
        outer: Outer,
        scratch: PathBuf,
        dir: &Path,
    ) -> std::result::Result<Arc<Self>, Box<dyn StdError + Send + Sync>> {
        let mut fabric = Fabric::new()?;
        fabric.apply(&topology::topology(&State::default()))?;
        let internet = fabric.internet().clone();
        internet::say_who_asks(&internet)?;
        let pin = Box::new(move || internet.pin_current_thread());
        Ok(Arc::new(Cloud {
            forwarder: Forwarder::start("internet", pin).await?,
            inner: Mutex::new(Inner {
                state: State::default(),
                fabric,
                balancers: BTreeMap::new(),
                published: BTreeMap::new(),
                entrances: BTreeMap::new(),
                containers: BTreeMap::new(),
            }),
            locks: Locks::default(),
            ssh: Servers::start()?,
            outer,
            scratch,
            limiter: Arc::new(Limiter::new(dir)),
            changed: watch::Sender::new(0),
        }))
    }
}

impl Inner {
    /// Whether an instance exists and has not ended.
    pub(in crate::daemon) fn goes_on(&self, id: &InstanceId) -> bool {
        let machine = self.state.machines.get(id);
        machine.is_some_and(|machine| machine.has_interface())
    }
}

impl Cloud {
    pub(in crate::daemon) fn lock(&self) -> MutexGuard<'_, Inner> {
        // After a panic, the data still describes the machine.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the records and the network; after an error, neither is changed.
    pub(in crate::daemon) fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let inner = &mut *self.lock();
        let before = inner.state.clone();
        let changed = change(&mut inner.state).and_then(|value| {
            inner
                .fabric
                .apply(&topology::topology(&inner.state))
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Other,
                        "the kernel did not take the network as it should be",
                    )
                    .caused_by(error)
                })?;
            Ok(value)
        });
        if changed.is_err() {
            inner.state = before;
            // This was the state before. If the kernel refuses it now, the next change tries again.
            let _ = inner.fabric.apply(&topology::topology(&inner.state));
        }
        // Without a record, no client can ask for the output; dropping the container closes its files.
        inner
            .containers
            .retain(|id, _| inner.state.machines.contains_key(id));
        self.tell();
        changed
    }

    /// Wakes all tasks that wait for a change.
    pub(in crate::daemon) fn tell(&self) {
        self.changed
            .send_modify(|version| *version = version.wrapping_add(1));
    }
}
