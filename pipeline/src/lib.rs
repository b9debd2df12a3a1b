//! From `landfall.toml` to a stack, and the operations on it: deploy, plan, status, rollback, destroy.
//!
//! A [`Config`] is read from a file or built in Rust, with the same meaning; [`stack()`] builds the
//! stack from it. [`deploy()`] and the other operations work on any [`Cloud`]: AWS, this machine, a simulation. They
//! report through the events of their [`Options`], return plain data, and print nothing.

mod cloud;
mod config;
mod health;
mod ops;
mod outcome;
mod reach;
mod review;
mod run;
mod stack;
mod validate;

pub use cloud::{Cloud, RequestTimeout, catalog};
pub use config::{
    AccountZones, Acl, Acls, Bastion, Commands, Config, ConfigErrors, CustomAclEntry,
    CustomSecurityRule, Diagnostic, EndpointName, Environments, Expectation, Health, ImageSource,
    InvalidRegion, LoadBalancer, Local, LocatedDiagnostic, Mode, Network, Region, Route,
    RouteTable, RouteTables, RouteVia, Scale, SecurityGroup, Service, Single, StackLocation, Zones,
    json_schema, zones,
};
pub use ops::{
    Access, BalancerStatus, GroupStatus, Host, ListenerStatus, NoSuchHost, Planned, Powered,
    RollbackTo, RolledBack, RuleAction, RuleStatus, Scaled, ScaledService, ServiceReleases,
    SingleStatus, Status, TargetGroupStatus, TargetStatus, Unusable, access, deploy, destroy,
    host_keys, needs_groups, plan, releases, rollback, scale, start, status, stop,
};
pub use outcome::{
    Changes, Deployed, Destroyed, Failure, PostFailureState, RolledBackService, Stage,
    UnhealthyTarget,
};
pub use reach::{
    Answer, Change, Connections, EndpointNameError, Explanation, Overview, Query, QueryError,
    ReachabilityCheck, Violation, check_reachability, explain, live_topology, overview,
};
pub use review::{Because, ChangeKind, Leaf, PendingRollout, Review, Reviewed};
pub use run::{Confirmation, OnFailure, Options, Question, SavedPlan, SavedPlanError};
pub use stack::{Sources, StackError};
pub use validate::{instance_profiles, planned_topology, stack};
