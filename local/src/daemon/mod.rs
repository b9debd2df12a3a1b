//! The cloud process: the records, and what keeps the machine as they say.
//!
//! Records change under one lock, together with the network: [`Cloud::change`] does both or neither.
//! What takes longer than a moment (booting an instance, draining a target) happens outside of it, in
//! tasks that look at the records again when they come back.
//!
//! **Invariant:** nothing is written to disk. The process is the cloud: when it ends, however it
//! ends, the kernel takes everything away that it made.

mod control;
mod controllers;
#[cfg(test)]
mod differential;
mod internet;
mod records;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use landfall_provider::{Error, ErrorKind, InstanceId, ListenerId, LoadBalancerId, Result};
use tokio::sync::watch;

use crate::process::{CloudContext, Outer};
use crate::ssh::Servers;
use control::lock;
use controllers::{balance, guest, publish};
use landfall_balancer::Forwarder;
use landfall_sandbox::Limiter;
use landfall_vnet::Fabric;
use records::state::State;
use records::topology;

/// A host on the internet: where the loopback ports enter from.
pub(crate) const INTERNET_HOST: Ipv4Addr = crate::OPERATOR;

/// The cloud, shared by every task.
pub(crate) struct Cloud {
    inner: Mutex<Inner>,
    locks: lock::Locks,
    outer: Outer,
    /// Carries what comes in by loopback ports.
    forwarder: Forwarder,
    /// Lets people log in.
    ssh: Servers,
    scratch: PathBuf,
    /// Makes instances keep to their limits.
    limiter: Arc<Limiter>,
    /// Moves on with every change, for those who wait for one.
    changed: watch::Sender<u64>,
}

/// What the lock guards.
pub(crate) struct Inner {
    state: State,
    fabric: Fabric,
    balancers: BTreeMap<LoadBalancerId, balance::Running>,
    published: BTreeMap<ListenerId, publish::Published>,
    /// The loopback ports of instances that clients ask themselves.
    entrances: BTreeMap<InstanceId, publish::Published>,
    guests: BTreeMap<InstanceId, guest::Container>,
}

/// The inner process's program: serves until it is told to end, or holds nothing and nobody is connected.
pub(crate) fn main(
    context: CloudContext,
) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
    // Everything that is busy has threads of its own: each balancer's node, the loopback ports.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut fabric = Fabric::new()?;
        fabric.apply(&topology::topology(&State::default()))?;
        let internet = fabric.internet().clone();
        internet::say_who_asks(&internet)?;
        let pin = Box::new(move || internet.pin_current_thread());
        let cloud = Arc::new(Cloud {
            forwarder: Forwarder::start("internet", pin).await?,
            inner: Mutex::new(Inner {
                state: State::default(),
                fabric,
                balancers: BTreeMap::new(),
                published: BTreeMap::new(),
                entrances: BTreeMap::new(),
                guests: BTreeMap::new(),
            }),
            locks: lock::Locks::default(),
            ssh: Servers::start()?,
            outer: context.outer,
            scratch: context.scratch,
            limiter: Arc::new(Limiter::new(&context.dir)),
            changed: watch::Sender::new(0),
        });
        control::serve(cloud, context.listener).await?;
        Ok::<_, Box<dyn StdError + Send + Sync>>(())
    })?;
    // Threads of instances and nodes need no farewell: the kernel ends them with this process.
    runtime.shutdown_background();
    Ok(())
}

impl Inner {
    /// Whether an instance is there and has not ended.
    fn goes_on(&self, id: &InstanceId) -> bool {
        let machine = self.state.machines.get(id);
        machine.is_some_and(|machine| machine.has_interface())
    }
}

impl Cloud {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic left is still the truth about the machine.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the records and the network with them, or neither.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
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
            // It was so a moment ago; what the kernel refuses now it will be asked again at the next change.
            let _ = inner.fabric.apply(&topology::topology(&inner.state));
        }
        // An instance without a record has no output that anybody can ask for, and keeps no files open.
        inner
            .guests
            .retain(|id, _| inner.state.machines.contains_key(id));
        self.tell();
        changed
    }

    /// Wakes everybody who waits for a change.
    fn tell(&self) {
        self.changed
            .send_modify(|version| *version = version.wrapping_add(1));
    }
}
