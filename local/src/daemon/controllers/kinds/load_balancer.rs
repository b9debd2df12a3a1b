//! A load balancer runs as a proxy.

use std::sync::Arc;

use landfall_kernel::log;
use landfall_lb::LoadBalancer;
use landfall_provider::Result;

use super::Hooks;
use crate::daemon::Cloud;
use crate::daemon::controllers::balance;

impl Hooks for LoadBalancer {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        balance::start(cloud, id).await
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        balance::sync(cloud, id).await
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        cloud.change(|state| state.end::<Self>(id))?;
        let (cloud, id) = (Arc::clone(cloud), id.clone());
        tokio::spawn(async move {
            if let Err(error) = balance::end(&cloud, &id).await {
                log(format_args!("ending {id}: {error}"));
            }
        });
        Ok(())
    }
}
