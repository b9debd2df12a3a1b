//! The operations on a stack, one file each.

mod access;
mod before;
mod commit;
mod deploy;
mod destroy;
mod lockout;
mod pending;
mod plan;
mod power;
mod prebuild;
mod protect;
mod reachability;
mod releases;
mod rollback;
mod scale;
mod single;
mod single_status;
mod sources;
mod status;

pub use self::access::{Access, Host, NoSuchHost, access, host_keys};
pub use self::deploy::deploy;
pub use self::destroy::destroy;
pub use self::plan::{Planned, plan};
pub use self::power::{Powered, start, stop};
pub use self::releases::{ServiceReleases, releases};
pub use self::rollback::{RollbackTo, RolledBack, rollback};
pub use self::scale::{Scaled, ScaledService, scale};
pub use self::single::needs_groups;
pub use self::single_status::SingleStatus;
pub use self::status::{
    BalancerStatus, GroupStatus, ListenerStatus, RuleAction, RuleStatus, Status, TargetGroupStatus,
    TargetStatus, Unusable, status,
};
