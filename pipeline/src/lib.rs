//! From `landfall.toml` to one stack, and what is done with it: deploy, plan, status, rollback, destroy.
//!
//! A [`Config`] is read from a file or put together in Rust, and says the same either way; [`stack()`] makes the
//! stack out of it. [`deploy()`] and its kin work on any [`Cloud`]: AWS, this machine, a simulation. They tell
//! what happens through the events of their [`Options`], give plain data back, and print nothing.

mod access;
mod announce;
mod answer;
mod before;
mod cloud;
mod commit;
mod config;
mod consent;
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
pub use answer::Patience;
pub use cloud::{Cloud, catalog};
pub use config::{
    Acl, AclEntry, Acls, Bastion, Commands, Config, ConfigErrors, Environments, Expectation, Fault,
    GroupRule, Health, ImageSource, LoadBalancer, Local, Mode, Network, Peer, Problem, Route,
    RouteTable, RouteTables, RouteVia, Scale, SecurityGroup, Service, Single, Spot, Whereabouts,
    json_schema,
};
pub use consent::{Consent, Question};
pub use deploy::deploy;
pub use destroy::destroy;
pub use outcome::{Changes, Deployed, Destroyed, Failure, Remains, Sick, Stage, WentBack};
pub use pending::PendingRollout;
pub use plan::{Planned, plan};
pub use reach::{
    Answer, Broken, Change, Connections, Explanation, Overview, Proof, Query, QueryError,
    SpotError, explain, live_topology, overview, planned_topology, prove,
};
pub use region::{InvalidRegion, Region, zones};
pub use releases::{ServiceReleases, releases};
pub use review::{Because, Does, Leaf, Review, Reviewed};
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
