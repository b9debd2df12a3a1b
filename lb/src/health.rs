//! The health of a target, and the reasons by the codes that AWS users know.

use std::fmt;
use std::net::SocketAddrV4;
use std::time::SystemTime;

use landfall_provider::Zone;
use serde::de::IntoDeserializer;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Serialize};

/// A target and how its balancer finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetHealth {
    /// The instance.
    pub id: String,
    /// Where it is asked, if the balancer says so: on AWS it knows its targets by instance only.
    pub address: Option<SocketAddrV4>,
    /// The zone that it stands in, if the balancer says so.
    pub zone: Option<Zone>,
    /// Its state.
    pub state: TargetState,
    /// Why it is not healthy.
    pub reason: Option<HealthReason>,
    /// The reason in words, with what was seen: `status 404 instead of 200`.
    pub description: Option<String>,
    /// Since when it is in this state, if the balancer says so: AWS does not.
    #[serde(with = "landfall_provider::rfc3339::option")]
    pub since: Option<SystemTime>,
}

/// The state of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Not checked enough yet.
    Initial,
    /// Takes requests.
    Healthy,
    /// Does not.
    Unhealthy,
    /// Finishes what it has begun.
    Draining,
    /// Is in no use: no listener leads to its group.
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

/// Why a target is not healthy, in AWS's codes.
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
    /// The balancer has an error of its own.
    #[serde(rename = "Elb.InternalError")]
    InternalError,
    /// Its answer has another status than the matcher wants.
    #[serde(rename = "Target.ResponseCodeMismatch")]
    ResponseCodeMismatch,
    /// It did not answer in time; most often a security group is behind it.
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
    /// It is leaving.
    #[serde(rename = "Target.DeregistrationInProgress")]
    DeregistrationInProgress,
    /// The instance does not run.
    #[serde(rename = "Target.InvalidState")]
    InvalidState,
}

impl HealthReason {
    /// The reason behind a code; `None` for one that is not on the list.
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
