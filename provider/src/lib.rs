//! The interface that every Landfall crate shares: what a resource is, what a provider can do
//! with it, how a stack of wishes becomes a plan, and the engine that carries a plan out.
//!
//! The way through the crate, in reading order:
//!
//! 1. [`Resource`] describes one kind of thing; its fields refer to other resources by [`Input`].
//! 2. [`Stack`] collects what the user wants: plain data, no cloud in sight.
//! 3. [`Provider`] is a place that can hold resources of a kind; [`Catalog`] is everything one
//!    provider can hold, behind one type.
//! 4. [`Snapshot`] is what the provider holds now; [`plan()`] compares the two, without I/O.
//! 5. [`apply()`] carries a [`Plan`] out, as much at once as the graph allows.
//!
//! Nothing here knows a cloud, a command line or a file format.

mod apply;
mod catalog;
mod claim;
mod error;
mod event;
mod identity;
mod ids;
mod input;
mod irreversible;
mod lock;
mod name;
mod plan;
mod preflight;
mod provider;
mod resource;
pub mod rfc3339;
mod schema;
mod snapshot;
mod stack;
mod text_file;

pub use apply::{Applied, ApplyOptions, PollInterval, ReadyResource, apply};
pub use catalog::Catalog;
pub use claim::Claim;
pub use error::{Error, ErrorKind, Left, Result};
pub use event::{Event, Events, Operation};
pub use identity::ProviderIdentity;
pub use ids::{
    AllocationId, AutoscalingGroupId, GatewayEndpointId, ImageId, InstanceId, InstanceProfileId,
    InternetGatewayId, KeyPairId, LaunchTemplateId, ListenerId, ListenerRuleId, LoadBalancerId,
    NatGatewayId, NetworkAclId, RepositoryId, ResourceId, RouteTableId, ScalingPolicyId,
    SecurityGroupId, SecurityGroupRulesId, SubnetId, TargetGroupId, VpcId, kind,
};
pub use input::{Input, Reference};
pub use irreversible::{IrreversibleChange, losses};
pub use lock::{Attempt, Holder, LockGuard, LockLoss, StackLock};
pub use name::{InvalidName, Key, Kind, Port, ResourceName, StackName, Zone};
pub use plan::{Action, After, Plan, PlanError, Reason, Step, plan};
pub use preflight::Preflight;
pub use provider::{Live, Probe, Provider};
pub use resource::{Change, DataLoss, FieldChange, Gate, Resource, Retention};
pub use schema::{KindMetadata, ResolvedRef, Schema};
pub use snapshot::{Found, Snapshot};
pub use stack::{DesiredResource, Handle, NameTaken, Stack};
pub use text_file::read_text;
