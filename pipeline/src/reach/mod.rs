//! Who can reach what in a stack: asked about, shown as a whole, and held to what has to be.

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

/// What would hold if the stack were made, and what would not: what has to be reachable and is not, what must not
/// be and is, and what cannot be found out. Pure: nothing is asked of any provider.
pub fn check_reachability(config: &Config, stack: &Stack) -> ReachabilityCheck {
    match planned(stack) {
        Ok(topology) => check(config, &topology),
        // Every configuration's stack has one VPC; of another one nothing is known.
        Err(error) => ReachabilityCheck {
            broken: Vec::new(),
            undetermined: vec![error.to_string()],
        },
    }
}
