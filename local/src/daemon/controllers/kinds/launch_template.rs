//! The groups of a launch template follow its changes.

use std::sync::Arc;

use landfall_compute::LaunchTemplate;
use landfall_provider::Result;

use super::Hooks;
use crate::daemon::Cloud;
use crate::daemon::controllers::keeper;

impl Hooks for LaunchTemplate {
    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        keeper::follow_template(cloud, id);
        Ok(())
    }
}
