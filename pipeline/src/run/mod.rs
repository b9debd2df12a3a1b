//! A run: the common part of all operations on one stack of one provider.

mod announce;
mod confirmation;
mod lock;
mod saved;

use std::time::Duration;

use landfall_provider::{
    Applied, ApplyOptions, Catalog, Error, Found, Key, Plan, Retention, Snapshot, Stack, StackName,
    apply, plan,
};
use tokio_util::sync::CancellationToken;

pub use self::announce::OnFailure;
pub use self::confirmation::{Confirmation, Question};
pub use self::saved::{SavedPlan, SavedPlanError};

use crate::cloud::{Cloud, RequestTimeout, catalog};
use crate::outcome::{Failure, PostFailureState, Stage};

/// The options of a run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Events, stop token, poll interval and concurrency, for the engine and all other waits.
    pub apply: ApplyOptions,
    /// Cancelled for an immediate end: running operations are abandoned, and only the lock is released.
    pub at_once: CancellationToken,
    /// The user and machine of the run: `ana@build-3`. Other runs show it while the stack is locked.
    pub who: String,
    /// Whether a failed first deploy keeps its resources, for inspection.
    pub keep_failed: bool,
    /// The time limit for requests to the provider outside the engine.
    pub request_timeout: RequestTimeout,
    /// The time limit to wait for another run on the stack. Default: no wait.
    pub wait: Option<Duration>,
    /// Receives a failure before the run cleans up.
    pub on_failure: OnFailure,
    /// The confirmation of irreversible changes.
    pub confirmation: Confirmation,
    /// The saved plan of a deploy, which fails if the current plan differs.
    pub saved: Option<SavedPlan>,
    /// Whether `before` commands are skipped: their output exists.
    pub no_before: bool,
    /// Whether violations of the reachability check are accepted.
    pub accept_unreachable: bool,
}

/// A run on one stack of one provider.
pub(crate) struct Run<'a, P: Cloud + ?Sized> {
    pub(crate) cloud: &'a P,
    pub(crate) catalog: Catalog<P>,
    pub(crate) stack: &'a StackName,
    pub(crate) options: &'a Options,
}

impl<'a, P: Cloud + ?Sized> Run<'a, P> {
    pub(crate) fn new(cloud: &'a P, stack: &'a StackName, options: &'a Options) -> Self {
        Self {
            cloud,
            catalog: catalog(),
            stack,
            options,
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.options.apply.stop.is_cancelled()
    }

    /// Waits for an answer before the first change, within the time limit and until the run is stopped.
    pub(crate) async fn ask<T>(
        &self,
        stage: Stage,
        doing: &str,
        call: impl Future<Output = landfall_provider::Result<T>>,
    ) -> Result<T, Box<Failure>> {
        tokio::select! {
            biased;
            answer = self.options.request_timeout.answer(call) => {
                answer.map_err(|error| Failure::of(stage, doing, error))
            }
            () = self.options.apply.stop.cancelled() => Err(Failure::interrupted()),
        }
    }

    /// Lists the resources of the stack before the first change.
    pub(crate) async fn first_look(&self) -> Result<Snapshot, Box<Failure>> {
        let message = format!("cannot list the resources of {}", self.stack);
        let listing = self.catalog.snapshot(self.cloud, self.stack);
        self.ask(Stage::Look, &message, listing).await
    }

    /// Lists the resources of the stack.
    pub(crate) async fn look(&self) -> Result<Snapshot, Box<Failure>> {
        let snapshot = self.catalog.snapshot(self.cloud, self.stack).await;
        snapshot.map_err(|error| {
            let message = format!("cannot list the resources of {}", self.stack);
            Failure::of(Stage::Look, &message, error)
        })
    }

    pub(crate) fn plan(&self, wanted: &Stack, live: &Snapshot) -> Result<Plan, Box<Failure>> {
        plan(wanted, live, self.catalog.schema()).map_err(|error| {
            Failure::new(
                Stage::Plan,
                format_args!("{} cannot be planned: {error}", self.stack),
            )
        })
    }

    pub(crate) async fn apply(&self, plan: &Plan, options: &ApplyOptions) -> Applied {
        apply(plan, self.cloud, &self.catalog, options).await
    }

    /// Whether a resource is deleted with its stack.
    pub(crate) fn ends_with_stack(&self, found: &Found) -> bool {
        let metadata = self.catalog.schema().get(&found.key.kind);
        metadata.is_none_or(|metadata| metadata.retention == Retention::WithStack)
    }

    /// The resources that are deleted with the stack, by key.
    pub(crate) fn bound(&self, snapshot: &Snapshot) -> Vec<Key> {
        let bound = snapshot
            .found()
            .iter()
            .filter(|found| self.ends_with_stack(found));
        bound.map(|found| found.key.clone()).collect()
    }

    /// The state of the stack after a failed run.
    pub(crate) async fn remains(&self, next: &str) -> PostFailureState {
        match self.catalog.snapshot(self.cloud, self.stack).await {
            Ok(snapshot) => PostFailureState::Resources {
                keys: self.bound(&snapshot),
                next: next.to_owned(),
            },
            Err(error) => PostFailureState::Unknown {
                why: error.to_string(),
            },
        }
    }

    /// The plan that deletes all resources.
    pub(crate) fn clearing(&self, live: &Snapshot) -> Result<Plan, Box<Failure>> {
        self.plan(&Stack::new(self.stack.clone()), live)
    }

    /// Deletes all resources, and lists the stack again.
    pub(crate) async fn clear(&self, plan: Plan) -> Result<Cleared, Box<Failure>> {
        let applied = self.apply(&plan, &self.options.apply).await;
        match self.look().await {
            Ok(after) => Ok(Cleared {
                plan,
                applied,
                after,
            }),
            Err(failure) if plan.steps.is_empty() => Err(failure),
            Err(failure) => Err(self.unproved(&plan, applied, failure)),
        }
    }

    /// The failure of the final listing after the deletion.
    fn unproved(&self, plan: &Plan, applied: Applied, look: Box<Failure>) -> Box<Failure> {
        let message = format!(
            "{} of {} were deleted, and the remaining resources of {} cannot be listed",
            applied.deleted.len(),
            count(plan.steps.len(), "resource"),
            self.stack
        );
        let why = look.errors.first().map_or(look.message, Error::to_string);
        let mut failure = Failure::new(Stage::Look, message).undone(applied);
        failure.errors.extend(look.errors);
        failure.remains = PostFailureState::Unknown { why };
        failure
    }
}

/// The result of the deletion.
pub(crate) struct Cleared {
    pub(crate) plan: Plan,
    pub(crate) applied: Applied,
    pub(crate) after: Snapshot,
}

/// A number with its noun: `1 step`, `2 steps`.
pub(crate) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
