//! A listener is a port of its balancer, and a loopback port that leads there.

use std::sync::Arc;

use landfall_lb::Listener;
use landfall_provider::Result;

use super::Hooks;
use crate::daemon::Cloud;
use crate::daemon::controllers::{balance, publish};

impl Hooks for Listener {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        Self::updated(cloud, id).await?;
        publish::publish(cloud, id)
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = balance::balancer_of(&cloud.lock().state, id);
        match balancer {
            Some(balancer) => balance::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancer = balance::balancer_of(&cloud.lock().state, id);
        cloud.change(|state| state.end::<Self>(id))?;
        publish::withdraw(cloud, id);
        match balancer {
            Some(balancer) => balance::sync(cloud, &balancer).await,
            None => Ok(()),
        }
    }
}
