//! What a provider must hold and know to run instances.

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

/// A provider of every kind in this crate, which also knows the instances that a group has made.
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

    /// Has the group's instances replaced by ones of this version of its template, a healthy one before an old
    /// one ends. Returns once that has begun, or was under way already; [`rolling`](Self::rolling) tells how far it
    /// is. What was under way to another version is given up for it. The provider carries it through by itself,
    /// whatever becomes of the caller, and [takes it back](Self::roll_back) by itself when the new instances do not
    /// become healthy.
    ///
    /// A group is made with the newest version of its template; from then on it runs what it was rolled to.
    ///
    /// # Errors
    /// `InUse` while something else has to end first: calling it again later begins it.
    async fn roll(
        &self,
        group: &AutoscalingGroupId,
        template: &LaunchTemplateId,
        version: u32,
    ) -> Result<()>;

    /// Takes the [`roll`](Self::roll) that is under way back: the group runs the version before again, the instances
    /// of the new one are drained and ended. Returns once that has begun, or when it is so already;
    /// [`rolling`](Self::rolling) tells how far it is. A provider that remembers why keeps what `why` says.
    ///
    /// # Errors
    /// `NotFound` if nothing is under way that could be taken back.
    async fn roll_back(&self, group: &AutoscalingGroupId, why: &str) -> Result<()>;

    /// How far the last [`roll`](Self::roll) of the group is: usable once it is done; ending while it is being taken
    /// back; failed when it was, or was given up otherwise; absent if there never was one.
    async fn rolling(&self, group: &AutoscalingGroupId) -> Result<Probe<()>>;

    /// What is noted of each version of a launch template that this session makes from now on.
    fn note_releases(&self, note: ReleaseNote);

    /// Every version of a group's template that there is still, by version.
    async fn releases(
        &self,
        template: &LaunchTemplateId,
        group: &AutoscalingGroupId,
    ) -> Result<Vec<Release>>;

    /// How many instances the group is to have now: what its file asked for, or what scaling has made of it since.
    async fn capacity(&self, group: &AutoscalingGroupId) -> Result<GroupCapacity>;

    /// Has the group from now on have this many instances, within its limits; its spec stays as it is. A scaling
    /// policy may change it again.
    ///
    /// # Errors
    /// `Invalid` beyond the limits.
    async fn scale(&self, group: &AutoscalingGroupId, desired: u32) -> Result<()>;

    /// The last time that the number of the group's instances was changed while it ran, as far as the provider
    /// remembers.
    async fn last_scaling(&self, group: &AutoscalingGroupId) -> Result<Option<Scaling>>;

    /// The last lines that an instance's container wrote, at most `lines`; also of one that has ended,
    /// as long as the provider remembers it.
    async fn last_output(&self, instance: &InstanceId, lines: usize) -> Result<Vec<String>>;

    /// The keys by which SSH clients know an instance, as the provider has them from the instance itself; none
    /// while it has not told them, or where nobody can log in.
    async fn host_keys(&self, instance: &InstanceId) -> Result<Vec<HostKey>>;
}

/// How many instances a group is to have now, and between what scaling may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCapacity {
    /// The fewest.
    pub min: u32,
    /// Now.
    pub desired: u32,
    /// The most.
    pub max: u32,
}

/// A change of how many instances a group is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaling {
    /// When it was decided, if that is known.
    #[serde(with = "landfall_provider::rfc3339::option")]
    pub at: Option<SystemTime>,
    /// From how many to how many, and why.
    pub why: String,
}

/// An instance of an autoscaling group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInstance {
    /// Its id.
    pub id: InstanceId,
    /// The zone that it stands in.
    pub zone: Zone,
    /// Its address in the VPC.
    pub private_address: Ipv4Addr,
    /// How far it is.
    pub state: InstanceState,
    /// The version of the launch template that it was made from, from 1.
    pub template_version: u32,
    /// When it ended by itself, if it did and the provider says so: AWS does not.
    #[serde(
        default,
        with = "landfall_provider::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub ended: Option<SystemTime>,
}

/// How far an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Its container is being started.
    Pending,
    /// Its container runs.
    Running,
    /// It is being ended.
    Terminating,
    /// Its container ended by itself; the text says how: `exited with code 1`.
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
