//! Releases: the versions of every service, as its provider stores them.

use landfall_compute::Release;
use landfall_provider::{
    AutoscalingGroupId, Error, ErrorKind, Key, LaunchTemplateId, ResourceName, Result, Snapshot,
    StackName, kind,
};

use super::single::needs_groups;
use crate::cloud::{Cloud, catalog};

/// The releases of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceReleases {
    /// The service.
    pub service: ResourceName,
    /// Its releases, by version.
    pub releases: Vec<Release>,
}

/// The ids of the resources that have a service's releases.
pub(crate) struct Released {
    pub(crate) template: LaunchTemplateId,
    pub(crate) group: AutoscalingGroupId,
}

impl Released {
    /// The ids of a service, if both resources exist.
    pub(crate) fn of(snapshot: &Snapshot, service: &ResourceName) -> Option<Self> {
        let id = |kind| {
            let found = snapshot.get(&Key::new(kind, service.clone()))?;
            Some(found.id.clone())
        };
        Some(Self {
            template: LaunchTemplateId::from(id(kind::LAUNCH_TEMPLATE)?),
            group: AutoscalingGroupId::from(id(kind::AUTOSCALING_GROUP)?),
        })
    }
}

/// The releases of every service of a stack; empty if the stack does not exist.
///
/// # Errors
/// The first failed request to the provider.
pub async fn releases<P: Cloud + ?Sized>(
    cloud: &P,
    stack: &StackName,
) -> Result<Vec<ServiceReleases>> {
    let snapshot = catalog().snapshot(cloud, stack).await?;
    if let Err(failure) = needs_groups(&snapshot, stack, "landfall releases") {
        let refused = Error::new(ErrorKind::Invalid, &failure.message);
        return Err(refused.hint(failure.hint.unwrap_or_default()));
    }
    let mut all = Vec::new();
    for found in snapshot.of_kind(&kind::LAUNCH_TEMPLATE) {
        let service = found.key.name.clone();
        if let Some(Released { template, group }) = Released::of(&snapshot, &service) {
            let releases = cloud.releases(&template, &group).await?;
            all.push(ServiceReleases { service, releases });
        }
    }
    Ok(all)
}
