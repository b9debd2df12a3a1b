//! The health of targets, with reasons by AWS's codes.

use std::fmt;
use std::net::SocketAddrV4;
use std::time::SystemTime;

use landfall_provider::Zone;
use serde::de::IntoDeserializer;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Serialize};

/// A target and its health according to its balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetHealth {
    /// The instance.
    pub id: String,
    /// The address of its health checks, if the balancer reports it: on AWS targets are known by
    /// instance only.
    pub address: Option<SocketAddrV4>,
    /// Its zone, if the balancer reports it.
    pub zone: Option<Zone>,
    /// Its state.
    pub state: TargetState,
    /// The reason why it is not healthy.
    pub reason: Option<HealthReason>,
    /// The reason in words, with the observation: `status 404 instead of 200`.
    pub description: Option<String>,
    /// The time of the last change of state, if the balancer reports it: AWS does not.
    #[serde(with = "landfall_provider::rfc3339::option")]
    pub since: Option<SystemTime>,
}

/// The state of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Not enough checks yet.
    Initial,
    /// Receives requests.
    Healthy,
    /// Receives no requests.
    Unhealthy,
    /// Finishes its current requests.
    Draining,
    /// Not in use: no listener leads to its group.
    Unused,
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Unused => "unused",
        })
    }
}

/// The reason why a target is not healthy, by AWS's codes.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthReason {
    /// It is being registered.
    #[serde(rename = "Elb.RegistrationInProgress")]
    RegistrationInProgress,
    /// It is being checked for the first time.
    #[serde(rename = "Elb.InitialHealthChecking")]
    InitialHealthChecking,
    /// The balancer has an internal error.
    #[serde(rename = "Elb.InternalError")]
    InternalError,
    /// The status of its answer does not match the matcher.
    #[serde(rename = "Target.ResponseCodeMismatch")]
    ResponseCodeMismatch,
    /// It did not answer in time; the most common cause is a security group.
    #[serde(rename = "Target.Timeout")]
    Timeout,
    /// The connection failed or the answer was not HTTP.
    #[serde(rename = "Target.FailedHealthChecks")]
    FailedHealthChecks,
    /// It is not registered.
    #[serde(rename = "Target.NotRegistered")]
    NotRegistered,
    /// No listener leads to its group.
    #[serde(rename = "Target.NotInUse")]
    NotInUse,
    /// It is being deregistered.
    #[serde(rename = "Target.DeregistrationInProgress")]
    DeregistrationInProgress,
    /// The instance is not running.
    #[serde(rename = "Target.InvalidState")]
    InvalidState,
}

impl HealthReason {
    /// The reason of a code; `None` for an unknown code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        let code: StrDeserializer<'_, value::Error> = code.into_deserializer();
        Self::deserialize(code).ok()
    }
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RegistrationInProgress => "Elb.RegistrationInProgress",
            Self::InitialHealthChecking => "Elb.InitialHealthChecking",
            Self::InternalError => "Elb.InternalError",
            Self::ResponseCodeMismatch => "Target.ResponseCodeMismatch",
            Self::Timeout => "Target.Timeout",
            Self::FailedHealthChecks => "Target.FailedHealthChecks",
            Self::NotRegistered => "Target.NotRegistered",
            Self::NotInUse => "Target.NotInUse",
            Self::DeregistrationInProgress => "Target.DeregistrationInProgress",
            Self::InvalidState => "Target.InvalidState",
        })
    }
}
