//! The protocol between clients and the cloud: per connection one JSON line in each direction.
//!
//! A connection carries one call. The connection of a [`Call::Lock`] stays open as long as the lock is
//! held, so that the lock ends with its holder in any case.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use landfall_compute::ReleaseNote;
use landfall_provider::{
    AutoscalingGroupId, Error, Holder, InstanceId, Kind, LaunchTemplateId, ResourceName, StackName,
    TargetGroupId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inside::TerminalKind;
use crate::secrets::Secrets;

/// The version of the protocol. It is raised when a message changes: a program and a cloud of different
/// builds must not misinterpret each other.
pub(crate) const PROTOCOL: u32 = 8;

/// A call and its protocol version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) protocol: u32,
    pub(crate) call: Call,
}

/// The calls of clients. The comments name the type of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// Lists the resources of a kind in a stack: `Vec<Live<R>>`.
    List { kind: Kind, stack: StackName },
    /// Creates a resource: its id.
    Create {
        kind: Kind,
        stack: StackName,
        name: ResourceName,
        spec: Value,
        extras: Extras,
    },
    /// Changes a resource in place.
    Update {
        kind: Kind,
        id: String,
        spec: Value,
        extras: Extras,
    },
    /// The state of a resource: `Probe<Value>`.
    Probe { kind: Kind, id: String },
    /// Begins to end a resource.
    Delete { kind: Kind, id: String },
    /// Takes the lock of a stack until the connection ends, or returns its holder: `Option<Holder>`.
    Lock { stack: StackName, holder: Holder },
    /// The holder of a stack's lock: `Option<Holder>`.
    Holder { stack: StackName },
    /// `Vec<TargetHealth>`.
    TargetHealth { group: TargetGroupId },
    /// `Vec<GroupInstance>`.
    GroupInstances { group: AutoscalingGroupId },
    /// Starts the rollout of a template version in a group.
    Roll {
        group: AutoscalingGroupId,
        template: LaunchTemplateId,
        version: u32,
    },
    /// Rolls the rollout back.
    RollBack {
        group: AutoscalingGroupId,
        why: String,
    },
    /// How far it is: `Probe<()>`.
    Rolling { group: AutoscalingGroupId },
    /// All versions of a group's template: `Vec<Release>`.
    Releases {
        template: LaunchTemplateId,
        group: AutoscalingGroupId,
    },
    /// `GroupCapacity`.
    Capacity { group: AutoscalingGroupId },
    /// Sets the desired capacity of a group.
    Scale {
        group: AutoscalingGroupId,
        desired: u32,
    },
    /// `Option<Scaling>`.
    LastScaling { group: AutoscalingGroupId },
    /// `Vec<String>`.
    LastOutput { instance: InstanceId, lines: usize },
    /// The state of a single instance: `Option<SingleInstance>`.
    Standing { instance: InstanceId },
    /// Starts to stop a single instance.
    StopInstance { instance: InstanceId },
    /// Starts a stopped single instance.
    StartInstance { instance: InstanceId },
    /// The output of an instance: `null`, then each line as [`LogLine`](crate::LogLine), and `null` at the end.
    Logs {
        instance: InstanceId,
        /// The time of the first line, in milliseconds since 1970.
        since_ms: Option<u64>,
        /// Continue with new output, until the instance ends.
        follow: bool,
    },
    /// Runs an additional command in an instance: [`Entering`], then frames.
    Exec {
        instance: InstanceId,
        argv: Vec<String>,
        /// The terminal of the command, if it has one.
        terminal: Option<TerminalKind>,
    },
    /// The SSH host keys of an instance: `Vec<HostKey>`.
    HostKeys { instance: InstanceId },
    /// Connects from a host on the simulated internet, [`Reached`](crate::Reached), and forwards the connection's data.
    Dial {
        address: Ipv4Addr,
        port: u16,
        timeout_ms: u64,
    },
    /// Whether any resource exists: `bool`.
    HoldsSomething,
    /// Tries a TCP connection inside the cloud's network: [`Reached`](crate::Reached).
    Reach {
        from: Vantage,
        to: Ipv4Addr,
        port: u16,
        timeout_ms: u64,
    },
}

impl Call {
    /// The name of the call in the protocol.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::List { .. } => "list",
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Probe { .. } => "probe",
            Self::Delete { .. } => "delete",
            Self::Lock { .. } => "lock",
            Self::Holder { .. } => "holder",
            Self::TargetHealth { .. } => "target-health",
            Self::GroupInstances { .. } => "group-instances",
            Self::Roll { .. } => "roll",
            Self::RollBack { .. } => "roll-back",
            Self::Rolling { .. } => "rolling",
            Self::Releases { .. } => "releases",
            Self::Capacity { .. } => "capacity",
            Self::Scale { .. } => "scale",
            Self::LastScaling { .. } => "last-scaling",
            Self::LastOutput { .. } => "last-output",
            Self::Standing { .. } => "standing",
            Self::StopInstance { .. } => "stop-instance",
            Self::StartInstance { .. } => "start-instance",
            Self::Logs { .. } => "logs",
            Self::Exec { .. } => "exec",
            Self::HostKeys { .. } => "host-keys",
            Self::Dial { .. } => "dial",
            Self::HoldsSomething => "holds-something",
            Self::Reach { .. } => "reach",
        }
    }
}

/// Settings of this machine that a client sends beside a spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extras {
    /// The loopback port of a listener. Default: a free port.
    pub(crate) published_port: Option<u16>,
    /// The client's image store.
    pub(crate) image_store: PathBuf,
    /// The label of a new version of a launch template.
    pub(crate) note: ReleaseNote,
    /// The values of the spec's secrets.
    #[serde(default)]
    pub(crate) secrets: Secrets,
}

/// The result of an exec call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entering {
    /// The command runs.
    Runs,
    /// The command cannot be executed; the text gives the reason.
    Impossible(String),
}

/// A place in the cloud's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vantage {
    /// A host on the internet.
    Internet,
    /// An instance, by its id.
    Instance(InstanceId),
}

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Success, with the value that the call names.
    Ok(Value),
    /// Failure.
    Err(Error),
}
