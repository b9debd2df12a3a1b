//! The provider trait for load balancing.

use async_trait::async_trait;
use landfall_provider::{Catalog, Provider, Result, TargetGroupId};

use crate::{Listener, ListenerRule, LoadBalancer, TargetGroup, TargetHealth};

/// A provider of every kind in this crate, which also reports the health of targets.
#[async_trait]
pub trait LbProvider:
    Provider<LoadBalancer> + Provider<TargetGroup> + Provider<Listener> + Provider<ListenerRule>
{
    /// The targets of a group and their health, by zone and id.
    async fn target_health(&self, group: &TargetGroupId) -> Result<Vec<TargetHealth>>;
}

/// Adds the kinds of this crate to a catalog.
#[must_use]
pub fn kinds<P: LbProvider + ?Sized>(catalog: Catalog<P>) -> Catalog<P> {
    catalog
        .with::<LoadBalancer>()
        .with::<TargetGroup>()
        .with::<Listener>()
        .with::<ListenerRule>()
}
