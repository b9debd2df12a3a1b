//! The balancers that send to a target group follow its changes.

use std::sync::Arc;

use landfall_lb::TargetGroup;
use landfall_provider::Result;

use super::Hooks;
use crate::daemon::Cloud;
use crate::daemon::controllers::balance;

impl Hooks for TargetGroup {
    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancers = balance::balancers_to(&cloud.lock().state, id);
        for balancer in balancers {
            balance::sync(cloud, &balancer).await?;
        }
        Ok(())
    }
}
