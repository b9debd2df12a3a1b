//! An instance: where it stands, what it runs and how far it is.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::SystemTime;

use landfall_compute::{GroupInstance, InstanceState, PublicKey, Workload};
use landfall_provider::{
    AutoscalingGroupId, InstanceId, Key, ResourceName, SecurityGroupId, SubnetId, Zone, kind,
};
use tokio::time::Instant;

use crate::secrets::Secrets;

/// An instance as the cloud knows it. What runs in it is held elsewhere, by the same id.
#[derive(Debug, Clone)]
pub(crate) struct InstanceRecord {
    /// The group that made it; none for a single instance.
    pub(crate) group: Option<AutoscalingGroupId>,
    /// For people: `digipay-web`.
    pub(crate) hostname: String,
    pub(crate) zone: Zone,
    pub(crate) subnet: SubnetId,
    pub(crate) address: Ipv4Addr,
    pub(crate) groups: Vec<SecurityGroupId>,
    pub(crate) workload: Option<Workload>,
    /// The key of whoever may log in.
    pub(crate) key: Option<PublicKey>,
    pub(crate) image_store: PathBuf,
    /// The values of the workload's secrets.
    pub(crate) secrets: Secrets,
    /// The version of the launch template that it was made from.
    pub(crate) template_version: u32,
    pub(crate) phase: Phase,
    pub(crate) launched: Instant,
    /// When it ended by itself, if it did.
    pub(crate) ended: Option<SystemTime>,
    /// Whether it has taken requests: its end is then not a failure to start.
    pub(crate) was_healthy: bool,
}

/// How far an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its image is unpacked and its container started.
    Booting,
    /// Its container runs.
    Running,
    /// Its container has ended, so many times in a row, and is started again after a pause.
    Restarting {
        /// How it ended.
        how: String,
        /// How many times.
        times: u32,
    },
    /// It is being stopped or ended.
    Stopping,
    /// It was stopped, and keeps what it has until it is started again.
    Stopped,
    /// It ended by itself; the text says how. Kept for a while, to be asked.
    Ended(String),
}

impl InstanceRecord {
    /// Whether it is, or is about to be, of use.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Booting | Phase::Running)
    }

    /// Whether it has its interface still: one that ended has given it back.
    pub(crate) fn has_interface(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// Its key, if it still needs the subnet or security group of this id.
    pub(crate) fn resolved_refs(&self, id: &str) -> Option<Key> {
        let needs =
            self.subnet.as_ref() == id || self.groups.iter().any(|group| group.as_ref() == id);
        let name = ResourceName::new(self.hostname.clone()).ok()?;
        (needs && self.has_interface()).then(|| Key::new(kind::INSTANCE, name))
    }

    /// As a client sees it.
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
