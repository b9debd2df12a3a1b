//! The record of an instance: its place in the network, its workload and its phase.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::SystemTime;

use landfall_compute::{GroupInstance, InstanceState, PublicKey, Workload};
use landfall_provider::{
    AutoscalingGroupId, InstanceId, Key, ResourceName, SecurityGroupId, SubnetId, Zone, kind,
};
use tokio::time::Instant;

use crate::secrets::Secrets;

/// The record of an instance. Its container is in the runtime, under the same id.
#[derive(Debug, Clone)]
pub(crate) struct InstanceRecord {
    /// The group that launched it; `None` for a single instance.
    pub(crate) group: Option<AutoscalingGroupId>,
    /// A name for people: `digipay-web`.
    pub(crate) hostname: String,
    pub(crate) zone: Zone,
    pub(crate) subnet: SubnetId,
    pub(crate) address: Ipv4Addr,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) workload: Option<Workload>,
    /// The public key that may log in.
    pub(crate) key: Option<PublicKey>,
    pub(crate) image_store: PathBuf,
    /// The values of the workload's secrets.
    pub(crate) secrets: Secrets,
    /// The version of its launch template.
    pub(crate) template_version: u32,
    pub(crate) phase: Phase,
    pub(crate) launched: Instant,
    /// The time of an unexpected end.
    pub(crate) ended: Option<SystemTime>,
    /// Whether it was ever healthy. If so, its end is not a failed launch.
    pub(crate) was_healthy: bool,
}

/// The phase of an instance's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its image is being unpacked and its container started.
    Booting,
    /// Its container runs.
    Running,
    /// Its container has ended and will be restarted after a pause.
    Restarting {
        /// The end of the container: its exit code or signal.
        how: String,
        /// The number of consecutive ends.
        times: u32,
    },
    /// It is being stopped or terminated.
    Stopping,
    /// It is stopped, and keeps its addresses until it is started again.
    Stopped,
    /// It ended unexpectedly, with this description. The record is kept for a while.
    Ended(String),
}

impl InstanceRecord {
    /// Whether it runs or starts.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Booting | Phase::Running)
    }

    /// Whether it has a network interface: an ended instance has none.
    pub(crate) fn has_interface(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// Its key, if it uses the subnet or security group with this id.
    pub(crate) fn resolved_refs(&self, id: &str) -> Option<Key> {
        let needs =
            self.subnet.as_ref() == id || self.groups.iter().any(|group| group.as_ref() == id);
        let name = ResourceName::new(self.hostname.clone()).ok()?;
        (needs && self.has_interface()).then(|| Key::new(kind::INSTANCE, name))
    }

    /// Its state for clients.
    pub(crate) fn describe(&self, id: &InstanceId) -> GroupInstance {
        GroupInstance {
            id: id.clone(),
            zone: self.zone.clone(),
            private_address: self.address,
            state: match &self.phase {
                Phase::Booting => InstanceState::Pending,
                Phase::Running => InstanceState::Running,
                Phase::Stopping | Phase::Stopped => InstanceState::Terminating,
                Phase::Restarting { how, .. } => InstanceState::Failed(how.clone()),
                Phase::Ended(why) => InstanceState::Failed(why.clone()),
            },
            template_version: self.template_version,
            ended: self.ended,
        }
    }
}
