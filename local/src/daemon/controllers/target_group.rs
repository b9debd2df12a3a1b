//! Target groups: the load balancers that forward to a group follow its changes.

use std::sync::Arc;

use landfall_lb::TargetGroup;
use landfall_provider::Result;

use super::hooks::Hooks;
use crate::daemon::controllers::load_balancer;
use crate::daemon::runtime::cloud::Cloud;

impl Hooks for TargetGroup {
    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        let balancers = load_balancer::balancers_to(&cloud.lock().state, id);
        for balancer in balancers {
            load_balancer::sync(cloud, &balancer).await?;
        }
        Ok(())
    }
}
