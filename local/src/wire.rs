//! What a client says to the cloud process and what it hears: one JSON line each way per connection.
//!
//! A connection carries one call. That of a [`Call::Lock`] stays open as long as the lock is held, so
//! that the lock ends with its holder, however that one ends.

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

/// Raised whenever a message changes its meaning: a program and a cloud process of different builds
/// must not misunderstand each other.
pub(crate) const PROTOCOL: u32 = 8;

/// A call with the version of the protocol that it is written in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) protocol: u32,
    pub(crate) call: Call,
}

/// What a client can ask for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    /// Everything of a kind that a stack holds: `Vec<Live<R>>`.
    List { kind: Kind, stack: StackName },
    /// Makes a resource: its id.
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
    /// How a resource is: `Probe<Value>`.
    Probe { kind: Kind, id: String },
    /// Begins to end a resource.
    Delete { kind: Kind, id: String },
    /// Takes the lock of a stack and holds it until the connection ends; or else whose it is: `Option<Holder>`.
    Lock { stack: StackName, holder: Holder },
    /// Who holds the lock of a stack: `Option<Holder>`.
    Holder { stack: StackName },
    /// `Vec<TargetHealth>`.
    TargetHealth { group: TargetGroupId },
    /// `Vec<GroupInstance>`.
    GroupInstances { group: AutoscalingGroupId },
    /// Brings a group's instances to a version of its template.
    Roll {
        group: AutoscalingGroupId,
        template: LaunchTemplateId,
        version: u32,
    },
    /// Takes that back.
    RollBack {
        group: AutoscalingGroupId,
        why: String,
    },
    /// How far it is: `Probe<()>`.
    Rolling { group: AutoscalingGroupId },
    /// Every version of a group's template: `Vec<Release>`.
    Releases {
        template: LaunchTemplateId,
        group: AutoscalingGroupId,
    },
    /// `GroupCapacity`.
    Capacity { group: AutoscalingGroupId },
    /// Sets how many instances a group is to have.
    Scale {
        group: AutoscalingGroupId,
        desired: u32,
    },
    /// `Option<Scaling>`.
    LastScaling { group: AutoscalingGroupId },
    /// `Vec<String>`.
    LastOutput { instance: InstanceId, lines: usize },
    /// How an instance that stands alone is: `Option<SingleInstance>`.
    Standing { instance: InstanceId },
    /// Begins to stop an instance that stands alone.
    StopInstance { instance: InstanceId },
    /// Begins to start it again.
    StartInstance { instance: InstanceId },
    /// The lines of an instance: `null`, then each line as [`LogLine`](crate::LogLine), and `null` when there are no more.
    Logs {
        instance: InstanceId,
        /// Only what was written at this time or later, in milliseconds since 1970.
        since_ms: Option<u64>,
        /// Go on with what comes, until the instance ends.
        follow: bool,
    },
    /// Runs a command in an instance, beside its own: [`Entering`], and then frames.
    Exec {
        instance: InstanceId,
        argv: Vec<String>,
        /// The size of the terminal that it is to have, and what that is called.
        terminal: Option<TerminalKind>,
    },
    /// The keys by which SSH clients know an instance: `Vec<HostKey>`.
    HostKeys { instance: InstanceId },
    /// Connects from a host on the internet, [`Reached`](crate::Reached), and carries what goes over the connection.
    Dial {
        address: Ipv4Addr,
        port: u16,
        timeout_ms: u64,
    },
    /// Whether there is any resource: `bool`.
    HoldsSomething,
    /// Opens a TCP connection inside the cloud's network and says how that went: [`Reached`](crate::Reached).
    Reach {
        from: Vantage,
        to: Ipv4Addr,
        port: u16,
        timeout_ms: u64,
    },
}

/// What a client of this machine adds to a spec, which knows no machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extras {
    /// The loopback port that leads to a listener; any free one if not given.
    pub(crate) published_port: Option<u16>,
    /// Where the client keeps its images.
    pub(crate) image_store: PathBuf,
    /// What is to be noted of a new version of a launch template.
    pub(crate) note: ReleaseNote,
    /// The values of the secrets that the spec refers to.
    #[serde(default)]
    pub(crate) secrets: Secrets,
}

/// Whether a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entering {
    /// It does.
    Runs,
    /// It cannot be executed; the text says why, in terms of the image.
    Impossible(String),
}

/// Where in the cloud's network somebody stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vantage {
    /// A host on the internet.
    Internet,
    /// An instance, by its id.
    Instance(InstanceId),
}

/// What a client hears.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// It went well; what the call promises stands here.
    Ok(Value),
    /// It did not.
    Err(Error),
}
