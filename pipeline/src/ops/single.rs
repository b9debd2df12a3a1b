//! `mode = "single"`: one instance with an address of its own, in place of a balancer and groups.

use landfall_compute::Instance;
use landfall_provider::{Found, Snapshot, StackName, kind};
use serde::Deserialize;

use crate::outcome::{Failure, Stage};

/// The single instances of a stack that run a container.
pub(crate) fn standing_alone(live: &Snapshot) -> impl Iterator<Item = (&Found, Instance)> {
    let all = live.found().iter();
    let instances = all.filter(|found| found.key.kind == kind::INSTANCE);
    instances.filter_map(|found| {
        let spec = Instance::deserialize(&found.spec).ok()?;
        spec.workload.is_some().then_some((found, spec))
    })
}

/// Refuses operations that need a group of instances, such as `landfall scale`, on a single instance.
///
/// # Errors
/// A [`Failure`] with the state of the stack and a hint.
pub fn needs_groups(live: &Snapshot, stack: &StackName, command: &str) -> Result<(), Box<Failure>> {
    match standing_alone(live).next() {
        None => Ok(()),
        Some((found, _)) => {
            let message = format!(
                "{stack} is a single instance, {}: `{command}` is for stacks with a load balancer",
                found.id
            );
            let hint = "`deploy` creates the stack of landfall.toml; with mode = \"balanced\" it has groups of instances";
            Err(Failure::new(Stage::Plan, message).hint(hint))
        }
    }
}
