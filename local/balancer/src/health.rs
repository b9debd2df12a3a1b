//! The health of a target: a state machine without clocks or sockets.
//!
//! Source: "Health checks for Application Load Balancer target groups", sections "Target health
//! status" and "Health check reason codes".

use std::fmt;
use std::time::SystemTime;

use super::config::HealthCheckConfig;

/// The state of a target, in the words of `DescribeTargetHealth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Registered; no check has decided yet.
    Initial,
    /// Gets requests.
    Healthy,
    /// Failed its checks; gets requests only when no target of the group is healthy.
    Unhealthy,
    /// Deregistered, finishing its requests.
    Draining,
    /// Not checked: no listener uses the group, or the balancer has no node in the target's zone.
    Unused,
}

impl HealthState {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Unused => "unused",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason for a target's state, in the words of `DescribeTargetHealth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `Elb.RegistrationInProgress`: no check has been sent yet.
    RegistrationInProgress,
    /// `Elb.InitialHealthChecking`: checks are under way.
    InitialHealthChecking,
    /// `Target.ResponseCodeMismatch`: the status code does not match.
    ResponseCodeMismatch,
    /// `Target.Timeout`: no response in time.
    Timeout,
    /// `Target.FailedHealthChecks`: no connection, or no HTTP response.
    FailedHealthChecks,
    /// `Target.NotInUse`: see [`HealthState::Unused`].
    NotInUse,
    /// `Target.DeregistrationInProgress`: see [`HealthState::Draining`].
    DeregistrationInProgress,
}

impl Reason {
    /// The reason code of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RegistrationInProgress => "Elb.RegistrationInProgress",
            Self::InitialHealthChecking => "Elb.InitialHealthChecking",
            Self::ResponseCodeMismatch => "Target.ResponseCodeMismatch",
            Self::Timeout => "Target.Timeout",
            Self::FailedHealthChecks => "Target.FailedHealthChecks",
            Self::NotInUse => "Target.NotInUse",
            Self::DeregistrationInProgress => "Target.DeregistrationInProgress",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of one health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A status code that matches.
    Pass,
    /// Another status code.
    Mismatch(u16),
    /// No response within the check's timeout.
    Timeout,
    /// No connection or no HTTP response, with the error.
    Failed(String),
}

impl Outcome {
    fn reason(&self) -> Option<(Reason, String)> {
        match self {
            Self::Pass => None,
            Self::Mismatch(code) => Some((
                Reason::ResponseCodeMismatch,
                format!("Health checks failed with these codes: [{code}]"),
            )),
            Self::Timeout => Some((Reason::Timeout, "Request timed out".into())),
            Self::Failed(why) => Some((
                Reason::FailedHealthChecks,
                format!("Health checks failed: {why}"),
            )),
        }
    }
}

/// The health of one target as the balancer reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    /// The target.
    pub target: super::config::Target,
    /// Its state.
    pub state: HealthState,
    /// The reason; `None` when healthy.
    pub reason: Option<Reason>,
    /// The reason as a sentence; empty when healthy.
    pub description: String,
    /// The time of the last change of the state.
    pub since: SystemTime,
}

/// The health of one target, updated by its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) state: HealthState,
    pub(super) reason: Option<Reason>,
    pub(super) description: String,
    pub(super) since: SystemTime,
    passes: u32,
    failures: u32,
}

impl Health {
    /// A newly registered target.
    pub(super) fn registered(now: SystemTime) -> Self {
        Self {
            state: HealthState::Initial,
            reason: Some(Reason::RegistrationInProgress),
            description: "Target registration is in progress".into(),
            since: now,
            passes: 0,
            failures: 0,
        }
    }

    /// The first check has started.
    pub(super) fn checking(&mut self) {
        if self.reason == Some(Reason::RegistrationInProgress) {
            self.reason = Some(Reason::InitialHealthChecking);
            self.description = "Initial health checks in progress".into();
        }
    }

    /// The balancer cannot send requests to the target; `why` is the reason as a sentence.
    pub(super) fn unused(&mut self, why: String, now: SystemTime) {
        self.enter(HealthState::Unused, Some(Reason::NotInUse), now);
        self.description = why;
    }

    /// The target is deregistered and finishes its requests.
    pub(super) fn draining(&mut self, now: SystemTime) {
        self.enter(
            HealthState::Draining,
            Some(Reason::DeregistrationInProgress),
            now,
        );
        self.description = "Target deregistration is in progress".into();
    }

    /// Records one check. `counted` is false for the extra checks between two intervals: they can make a starting
    /// target healthy, and their failures do not count.
    ///
    /// One pass makes a new target healthy. An unhealthy target needs `healthy_threshold` passes in a row. A healthy
    /// or new target becomes unhealthy after `unhealthy_threshold` failures in a row.
    pub(super) fn record(
        &mut self,
        outcome: &Outcome,
        counted: bool,
        config: &HealthCheckConfig,
        now: SystemTime,
    ) {
        if matches!(self.state, HealthState::Draining | HealthState::Unused) {
            return;
        }
        let Some((reason, description)) = outcome.reason() else {
            self.failures = 0;
            self.passes = self.passes.saturating_add(1);
            let needed = match self.state {
                HealthState::Unhealthy => config.healthy_threshold,
                _ => 1,
            };
            if self.passes >= needed {
                self.enter(HealthState::Healthy, None, now);
                self.description.clear();
            }
            return;
        };
        self.passes = 0;
        if counted {
            self.failures = self.failures.saturating_add(1);
        }
        match self.state {
            HealthState::Unhealthy => {
                self.reason = Some(reason);
                self.description = description;
            }
            _ if counted && self.failures >= config.unhealthy_threshold => {
                self.enter(HealthState::Unhealthy, Some(reason), now);
                self.description = description;
            }
            HealthState::Initial => {
                self.reason = Some(Reason::InitialHealthChecking);
                // The last failure helps a user who waits for the target.
                self.description = format!("Initial health checks in progress ({description})");
            }
            _ => {}
        }
    }

    fn enter(&mut self, state: HealthState, reason: Option<Reason>, now: SystemTime) {
        if self.state != state {
            self.state = state;
            self.since = now;
            self.passes = 0;
            self.failures = 0;
        }
        self.reason = reason;
    }
}
