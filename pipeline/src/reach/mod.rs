//! Reachability in a stack: explanations, the overview, and the check of requirements.

mod change;
mod explain;
mod invariants;
mod overview;
mod spot;
mod topology;

#[cfg(test)]
mod single_tests;
#[cfg(test)]
mod tests;

pub use self::change::Change;
pub use self::explain::{Answer, Explanation, Query, QueryError, explain, live_topology};
pub use self::invariants::{ReachabilityCheck, Violation};
pub use self::overview::{Connections, Overview, overview};
pub use self::spot::EndpointNameError;

use landfall_provider::Stack;

use crate::config::Config;

pub(crate) use self::invariants::{check_reachability as check, faults};
pub(crate) use self::topology::planned;

/// Checks the requirements in the desired stack: violations, and requirements that are
/// undetermined. Pure: no provider is needed.
pub fn check_reachability(config: &Config, stack: &Stack) -> ReachabilityCheck {
    match planned(stack) {
        Ok(topology) => check(config, &topology),
        // The stack of a configuration has exactly one VPC.
        Err(error) => ReachabilityCheck {
            broken: Vec::new(),
            undetermined: vec![error.to_string()],
        },
    }
}
