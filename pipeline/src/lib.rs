//! From `landfall.toml` to one stack, and what is done with it: deploy, plan, status, rollback, destroy.
//!
//! A [`Config`] is read from a file or put together in Rust, and says the same either way; [`stack()`] makes the
//! stack out of it. [`deploy()`] and its kin work on any [`Cloud`]: AWS, this machine, a simulation. They tell
//! what happens through the events of their [`Options`], give plain data back, and print nothing.

mod access;
mod announce;
mod before;
mod cloud;
mod commit;
mod config;
mod confirmation;
mod deploy;
mod destroy;
mod health;
mod lock;
mod lockout;
mod outcome;
mod own;
mod pending;
mod plan;
mod prebuild;
mod protect;
mod reach;
mod region;
mod releases;
mod request_timeout;
mod review;
mod rollback;
mod routes;
mod run;
mod saved;
mod scale;
mod single;
mod stack;
mod status;
mod workload;

pub use access::{Access, Host, NoSuchHost, access, host_keys};
pub use announce::OnFailure;
pub use cloud::{Cloud, catalog};
pub use config::{
    Acl, AclEntry, Acls, Bastion, Commands, Config, ConfigErrors, Diagnostic, EndpointName,
    Environments, Expectation, GroupRule, Health, ImageSource, LoadBalancer, Local,
    LocatedDiagnostic, Mode, Network, Peer, Route, RouteTable, RouteTables, RouteVia, Scale,
    SecurityGroup, Service, Single, StackLocation, json_schema,
};
pub use confirmation::{Confirmation, Question};
pub use deploy::deploy;
pub use destroy::destroy;
pub use outcome::{
    Changes, Deployed, Destroyed, Failure, PostFailureState, RolledBackService, Stage,
    UnhealthyTarget,
};
pub use pending::PendingRollout;
pub use plan::{Planned, plan};
pub use reach::{
    Answer, Change, Connections, EndpointNameError, Explanation, Overview, Query, QueryError,
    ReachabilityCheck, Violation, check_reachability, explain, live_topology, overview,
    planned_topology,
};
pub use region::{InvalidRegion, Region, zones};
pub use releases::{ServiceReleases, releases};
pub use request_timeout::RequestTimeout;
pub use review::{Because, ChangeKind, Leaf, Review, Reviewed};
pub use rollback::{RollbackTo, RolledBack, rollback};
pub use run::Options;
pub use saved::{SavedPlan, SavedPlanError};
pub use scale::{Scaled, ScaledService, scale};
pub use single::{Powered, SingleStatus, needs_groups, start, stop};
pub use stack::{Sources, StackError, instance_profiles, stack};
pub use status::{
    BalancerStatus, GroupStatus, ListenerStatus, RuleAction, RuleStatus, Status, TargetGroupStatus,
    TargetStatus, Unusable, status,
};
