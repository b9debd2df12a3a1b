//! A listener: a port of a balancer, and what happens to requests that come in there.

use landfall_provider::{
    Claim, Input, Kind, ListenerId, LoadBalancerId, Port, Reference, Resource, TargetGroupId, kind,
};
use serde::{Deserialize, Serialize};

/// A listener, for HTTPS where it has a certificate and for HTTP where it has none.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The balancer.
    pub balancer: Input<LoadBalancerId>,
    /// The port, which no other listener of the balancer has.
    pub port: Port,
    /// The certificate that it shows, by its ARN in ACM or IAM.
    pub certificate: Option<String>,
    /// What happens to requests that no rule of the listener takes.
    pub action: Action,
}

/// What a listener does with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Hands it to a target of this group.
    Forward(Input<TargetGroupId>),
    /// Sends the client to the same address by HTTPS, on this port, for good (status 301).
    RedirectToHttps(Port),
}

impl Action {
    /// Where it forwards to, if it does.
    #[must_use]
    pub fn target_group(&self) -> Option<&Input<TargetGroupId>> {
        match self {
            Self::Forward(group) => Some(group),
            Self::RedirectToHttps(_) => None,
        }
    }
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

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::one(&self.balancer, self.port.get().into())]
    }

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.balancer];
        if let Action::Forward(group) = &mut self.action {
            references.push(group);
        }
        references
    }
}
