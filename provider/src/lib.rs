//! The interface that every Landfall crate shares: resources, the operations of a provider, the
//! planner that compares a stack of desired resources with the provider's, and the engine that
//! applies the plan.
//!
//! The modules, in reading order:
//!
//! 1. [`Resource`] describes one kind of resource; its fields refer to other resources by
//!    [`Input`].
//! 2. [`Stack`] collects the desired resources: plain data, independent of any cloud.
//! 3. [`Provider`] is a place that can hold resources of a kind; [`Catalog`] is the list of all
//!    kinds of one provider, behind one type.
//! 4. [`Snapshot`] is the provider's present state; [`plan()`] compares the two, without I/O.
//! 5. [`apply()`] applies a [`Plan`], with as much parallelism as the graph allows.
//!
//! This crate depends on no cloud, command line or file format.

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
mod poll_interval;
mod preflight;
mod provider;
mod resource;
pub mod rfc3339;
mod schema;
mod snapshot;
mod stack;
mod text_file;

pub use apply::{Applied, ApplyOptions, ReadyResource, apply};
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
pub use poll_interval::PollInterval;
pub use preflight::Preflight;
pub use provider::{Live, Probe, Provider};
pub use resource::{Change, DataLoss, FieldChange, Gate, Resource, Retention};
pub use schema::{KindMetadata, ResolvedRef, Schema};
pub use snapshot::{Found, Snapshot};
pub use stack::{DesiredResource, Handle, NameTaken, SpecMismatch, Stack};
pub use text_file::read_text;
