//! A rule of a listener: routes matching requests to another target group.

use landfall_provider::{
    Claim, Input, Kind, ListenerId, ListenerRuleId, Reference, Resource, TargetGroupId, kind,
};
use serde::{Deserialize, Serialize};

/// A rule of a listener.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-rules.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRule {
    /// The listener.
    pub listener: Input<ListenerId>,
    /// Its priority, 1–50000, unique in the listener; the lowest that matches wins.
    pub priority: u16,
    /// The requests that it matches.
    pub condition: Condition,
    /// The target group of these requests.
    pub target_group: Input<TargetGroupId>,
}

/// The requests that a rule matches. `*` matches any text and `?` any character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// By path, case-sensitive: `/api/*`.
    Path(String),
    /// By the `Host` header, case-insensitive: `api.example.com`.
    Host(String),
}

impl Resource for ListenerRule {
    const KIND: Kind = kind::LISTENER_RULE;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["listener"];
    type Id = ListenerRuleId;
    type Output = ();

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::one(&self.listener, self.priority.into())]
    }

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.listener, &mut self.target_group]
    }
}
