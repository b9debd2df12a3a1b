//! An autoscaling group has a task that keeps its instances, and one that follows its policies.

use std::sync::Arc;

use landfall_compute::AutoscalingGroup;
use landfall_provider::Result;

use super::Hooks;
use crate::daemon::Cloud;
use crate::daemon::controllers::{keeper, scaling};

impl Hooks for AutoscalingGroup {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        keeper::reconcile_group(cloud, id.clone());
        scaling::follow(cloud, id.clone());
        Ok(())
    }

    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        keeper::reset_backoff(cloud, id);
        Ok(())
    }
}
