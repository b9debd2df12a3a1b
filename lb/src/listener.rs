//! A listener: a port of a balancer, and the action for its requests.

use landfall_provider::{
    Claim, Input, Kind, ListenerId, LoadBalancerId, Port, Reference, Resource, TargetGroupId, kind,
};
use serde::{Deserialize, Serialize};

/// A listener: HTTPS with a certificate, HTTP without one.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The balancer.
    pub balancer: Input<LoadBalancerId>,
    /// The port; unique in the balancer.
    pub port: Port,
    /// The ARN of its certificate in ACM or IAM.
    pub certificate: Option<String>,
    /// The action for requests that match no rule.
    pub action: Action,
}

/// The action of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Forward to a target of this group.
    Forward(Input<TargetGroupId>),
    /// Redirect the client to the same address by HTTPS, on this port, permanently (status 301).
    RedirectToHttps(Port),
}

impl Action {
    /// The target group of a forward.
    #[must_use]
    pub fn target_group(&self) -> Option<&Input<TargetGroupId>> {
        match self {
            Self::Forward(group) => Some(group),
            Self::RedirectToHttps(_) => None,
        }
    }
}

/// The output of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerOutput {
    /// The URL for a browser, with a slash at the end.
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
