//! The provider trait for instances.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use async_trait::async_trait;
use landfall_provider::{
    AutoscalingGroupId, Catalog, InstanceId, LaunchTemplateId, Probe, Provider, Result, Zone,
};
use serde::{Deserialize, Serialize};

use crate::{
    AutoscalingGroup, HostKey, Instance, InstanceProfile, KeyPair, LaunchTemplate, Release,
    ReleaseNote, ScalingPolicy,
};

/// A provider of every kind in this crate, which also reports the instances of a group.
#[async_trait]
pub trait ComputeProvider:
    Provider<KeyPair>
    + Provider<InstanceProfile>
    + Provider<LaunchTemplate>
    + Provider<AutoscalingGroup>
    + Provider<ScalingPolicy>
    + Provider<Instance>
{
    /// The instances of a group, by id.
    async fn group_instances(&self, group: &AutoscalingGroupId) -> Result<Vec<GroupInstance>>;

    /// Replaces the group's instances by ones of this version of its template; each old instance is
    /// terminated after a new one is healthy. Returns once the replacement has started, or if it
    /// was already in progress; [`rolling`](Self::rolling) returns its progress. A replacement by
    /// another version is cancelled. The provider completes the replacement independently of the
    /// caller, and [rolls back](Self::roll_back) by itself when the new instances do not become
    /// healthy.
    ///
    /// A group is created with the newest version of its template; afterwards it runs the version
    /// of the last roll.
    ///
    /// # Errors
    /// `InUse` while another operation must end first: a later call starts the replacement.
    async fn roll(
        &self,
        group: &AutoscalingGroupId,
        template: &LaunchTemplateId,
        version: u32,
    ) -> Result<()>;

    /// Rolls back the [`roll`](Self::roll) in progress: the group returns to the previous version,
    /// and the instances of the new one are drained and terminated. Returns once the rollback has
    /// started, or if it was already in progress; [`rolling`](Self::rolling) returns its progress.
    /// A provider that records reasons stores `why`.
    ///
    /// # Errors
    /// `NotFound` if no roll is in progress.
    async fn roll_back(&self, group: &AutoscalingGroupId, why: &str) -> Result<()>;

    /// The state of the group's last [`roll`](Self::roll): usable once it is complete; ending
    /// during a rollback; failed after a rollback, or if it was abandoned; absent if there was
    /// none.
    async fn rolling(&self, group: &AutoscalingGroupId) -> Result<Probe<()>>;

    /// Sets the note for each version of a launch template that this session creates from now on.
    fn note_releases(&self, note: ReleaseNote);

    /// Every existing version of a group's template, by version.
    async fn releases(
        &self,
        template: &LaunchTemplateId,
        group: &AutoscalingGroupId,
    ) -> Result<Vec<Release>>;

    /// The group's present capacity: the number from its file, or the number after later scaling.
    async fn capacity(&self, group: &AutoscalingGroupId) -> Result<GroupCapacity>;

    /// Sets the group's number of instances, within its limits; its spec does not change. A scaling
    /// policy may change it again.
    ///
    /// # Errors
    /// `Invalid` outside the limits.
    async fn scale(&self, group: &AutoscalingGroupId, desired: u32) -> Result<()>;

    /// The last change of the group's number of instances while it ran, as far as the provider
    /// records it.
    async fn last_scaling(&self, group: &AutoscalingGroupId) -> Result<Option<Scaling>>;

    /// The last lines of an instance's container output, at most `lines`; also of a terminated
    /// instance, as long as the provider keeps it.
    async fn last_output(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>>;

    /// The SSH host keys of an instance, which the provider received from the instance itself;
    /// empty until then, and where nobody can log in.
    async fn host_keys(&self, instance: &InstanceId) -> Result<Vec<HostKey>>;
}

/// The present capacity of a group, and the limits of scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCapacity {
    /// The minimum.
    pub min: u32,
    /// The present number.
    pub desired: u32,
    /// The maximum.
    pub max: u32,
}

/// A change of a group's capacity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaling {
    /// The time of the decision, if known.
    #[serde(with = "landfall_provider::rfc3339::option")]
    pub at: Option<SystemTime>,
    /// The old and the new number, and the reason.
    pub why: String,
}

/// An instance of an autoscaling group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInstance {
    /// Its id.
    pub id: InstanceId,
    /// Its zone.
    pub zone: Zone,
    /// Its address in the VPC.
    pub private_address: Ipv4Addr,
    /// Its state.
    pub state: InstanceState,
    /// The launch template version that it was created from, from 1.
    pub template_version: u32,
    /// The time of its exit, if it exited by itself and the provider reports it: AWS does not.
    #[serde(
        default,
        with = "landfall_provider::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended: Option<SystemTime>,
}

/// The state of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Its container is being started.
    Pending,
    /// Its container runs.
    Running,
    /// It is being terminated.
    Terminating,
    /// Its container exited by itself; the text is the cause: `exited with code 1`.
    Failed(String),
}

/// Adds the kinds of this crate to a catalog.
#[must_use]
pub fn kinds<P: ComputeProvider + ?Sized>(catalog: Catalog<P>) -> Catalog<P> {
    catalog
        .with::<KeyPair>()
        .with::<InstanceProfile>()
        .with::<LaunchTemplate>()
        .with::<AutoscalingGroup>()
        .with::<ScalingPolicy>()
        .with::<Instance>()
}
