//! Listeners: a port of the load balancer, and a loopback port of this machine that forwards to it.

use std::sync::Arc;

use landfall_lb::Listener;
use landfall_provider::{ListenerId, Result};

use super::hooks::Hooks;
use super::load_balancer;
use crate::daemon::records::kinds::known;
use crate::daemon::records::table::find;
use crate::daemon::runtime::cloud::Cloud;
use crate::daemon::runtime::loopback;

impl Hooks for Listener {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        Self::updated(cloud, id).await?;
        publish(cloud, id)
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = load_balancer::balancer_of(&cloud.lock().state, id);
        match balancer {
            Some(balancer) => load_balancer::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = load_balancer::balancer_of(&cloud.lock().state, id);
        cloud.change(|state| state.end::<Self>(id))?;
        withdraw(cloud, id);
        match balancer {
            Some(balancer) => load_balancer::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }
}

/// Opens the loopback port of a listener.
fn publish(cloud: &Arc<Cloud>, id: &ListenerId) -> Result<()> {
    let (wanted, stack, nodes) = {
        let inner = cloud.lock();
        let entry = find::<Listener>(&inner.state, id)?;
        let nodes = load_balancer::listener_nodes(
            &inner.state,
            known(&entry.spec.balancer)?,
            entry.spec.port,
        );
        (entry.facts.wanted_port, entry.stack.clone(), nodes)
    };
    let (port, opened) = loopback::open(cloud, wanted, stack.as_str(), &nodes)?;
    let mut inner = cloud.lock();
    inner.published.insert(id.clone(), opened);
    if let Some(entry) = inner.state.tables.listeners.get_mut(id) {
        entry.facts.published_port = Some(port);
    }
    drop(inner);
    cloud.tell();
    Ok(())
}

/// Closes the loopback port of a listener.
fn withdraw(cloud: &Cloud, id: &ListenerId) {
    drop(cloud.lock().published.remove(id));
}
