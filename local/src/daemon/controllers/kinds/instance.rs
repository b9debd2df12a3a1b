//! A single instance runs its container.

use std::sync::Arc;

use landfall_compute::Instance;
use landfall_provider::Result;

use super::Hooks;
use crate::daemon::Cloud;
use crate::daemon::controllers::guest;

impl Hooks for Instance {
    async fn created(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        guest::start_single(cloud, id)
    }

    async fn delete(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        cloud.change(|state| state.end::<Self>(id))?;
        guest::end_single(cloud, id);
        Ok(())
    }
}
