//! A rule of a listener: requests of one sort go to a target group of their own.

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
    /// Its place in the order, 1–50000, unique in the listener; the lowest that matches decides.
    pub priority: u16,
    /// Which requests it takes.
    pub condition: Condition,
    /// Where they go.
    pub target_group: Input<TargetGroupId>,
}

/// Which requests a rule takes. `*` stands for any text and `?` for any character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// By the path, case-sensitive: `/api/*`.
    Path(String),
    /// By the `Host` header, without regard to case: `api.example.com`.
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
