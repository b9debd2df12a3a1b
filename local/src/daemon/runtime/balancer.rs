//! A load balancer that runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_balancer::Balancer;
use landfall_provider::{TargetGroupId, Zone};

/// A running load balancer, and its last configuration.
#[derive(Debug)]
pub(crate) struct RunningBalancer {
    pub(in crate::daemon) balancer: Arc<Balancer>,
    /// The zones in which it has a node.
    pub(in crate::daemon) zones: BTreeSet<Zone>,
    pub(in crate::daemon) groups: BTreeSet<TargetGroupId>,
    /// One change at a time.
    pub(in crate::daemon) turn: Arc<tokio::sync::Mutex<()>>,
}
