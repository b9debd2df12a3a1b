//! A listener: a port of a balancer, and what happens to requests that come in there.

use landfall_provider::{
    Input, Kind, ListenerId, LoadBalancerId, Port, Reference, Resource, TargetGroupId, kind,
};
use serde::{Deserialize, Serialize};

/// A listener for HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The balancer.
    pub balancer: Input<LoadBalancerId>,
    /// The port, which no other listener of the balancer has.
    pub port: Port,
    /// Where requests go that no rule of the listener takes.
    pub target_group: Input<TargetGroupId>,
}

/// What is known of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerOutput {
    /// The address that a browser is given, ending in a slash.
    pub url: String,
}

impl Resource for Listener {
    const KIND: Kind = kind::LISTENER;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["balancer"];
    type Id = ListenerId;
    type Output = ListenerOutput;

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.balancer, &mut self.target_group]
    }
}
