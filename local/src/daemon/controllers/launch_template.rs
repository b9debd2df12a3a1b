//! Launch templates: groups follow the changes of their template.

use std::sync::Arc;

use landfall_compute::LaunchTemplate;
use landfall_provider::Result;

use super::hooks::Hooks;
use crate::daemon::controllers::autoscaling_group;
use crate::daemon::runtime::cloud::Cloud;

impl Hooks for LaunchTemplate {
    async fn updated(cloud: &Arc<Cloud>, id: &Self::Id) -> Result<()> {
        autoscaling_group::follow_template(cloud, id);
        Ok(())
    }
}
