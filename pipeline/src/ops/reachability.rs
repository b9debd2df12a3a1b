//! The reachability check: it runs before any request, build or change.

use crate::cloud::Cloud;
use crate::outcome::{Failure, Stage};
use crate::reach::ReachabilityCheck;
use crate::run::{Run, count};
use crate::validate::ValidatedStack;

impl<P: Cloud + ?Sized> Run<'_, P> {
    /// Checks the required and the forbidden connections from the file alone, before any request
    /// or build.
    pub(crate) fn check_reachability(
        &self,
        stack: &ValidatedStack<'_>,
    ) -> Result<(), Box<Failure>> {
        if self.options.accept_unreachable {
            return Ok(());
        }
        let proof = stack.check_reachability();
        if proof.holds() {
            return Ok(());
        }
        let ReachabilityCheck {
            broken,
            undetermined,
        } = proof;
        let missing = broken.iter().filter(|it| it.reachable);
        let missing: usize = missing.map(|it| it.invariants.len()).sum();
        let open = broken.iter().map(|it| it.invariants.len()).sum::<usize>() - missing;
        let message = match (missing, open) {
            (0, 0) => format!(
                "cannot determine whether {} would be allowed",
                count(undetermined.len(), "connection")
            ),
            (missing, 0) => format!("{} would be blocked", count(missing, "connection")),
            (0, open) => format!(
                "{} would be allowed, against the expectations",
                count(open, "connection")
            ),
            (missing, open) => format!(
                "{} would be blocked, and {open} would be allowed against the expectations",
                count(missing, "connection")
            ),
        };
        let mut failure = Failure::new(Stage::Reachability, message);
        failure.broken = broken;
        failure.details = undetermined;
        Err(failure)
    }
}
