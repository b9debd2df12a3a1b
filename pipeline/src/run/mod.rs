//! What deploy, plan, status and destroy share: one provider, one stack, one way of looking and of giving up.

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

/// How a run is carried out.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Events, stop token, pace and concurrency: of the engine, and of all else that waits or tells.
    pub apply: ApplyOptions,
    /// Cancelled when the run is to end at once: what is under way is not waited for, the lock alone is released.
    pub at_once: CancellationToken,
    /// Who runs it, as user and machine: `ana@build-3`. Shown to whoever finds the stack locked.
    pub who: String,
    /// Whether a first deploy that fails leaves what it has made, to be looked at.
    pub keep_failed: bool,
    /// For how long the provider may be silent when it is asked, outside of the engine.
    pub request_timeout: RequestTimeout,
    /// For how long another run on the stack is waited for; not at all if not given.
    pub wait: Option<Duration>,
    /// Hears of a failure before the run cleans up after it.
    pub on_failure: OnFailure,
    /// Who says yes before something is lost for good.
    pub confirmation: Confirmation,
    /// The plan that a deploy carries out; it refuses if there is another one to be made by now.
    pub saved: Option<SavedPlan>,
    /// Whether `before` commands are left out: what they build is there already.
    pub no_before: bool,
    /// Whether a network is accepted that is not reachable as it has to be, or is as it must not be.
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

    /// Awaits an answer before anything is changed: not longer than the options allow, and not once the run is stopped.
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

    /// Everything that the stack holds, before anything is changed.
    pub(crate) async fn first_look(&self) -> Result<Snapshot, Box<Failure>> {
        let message = format!("cannot list the resources of {}", self.stack);
        let listing = self.catalog.snapshot(self.cloud, self.stack);
        self.ask(Stage::Look, &message, listing).await
    }

    /// Everything that the stack holds.
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

    /// Whether it ends with its stack; what outlives it is not what a destroy or a rollback is about.
    pub(crate) fn ends_with_stack(&self, found: &Found) -> bool {
        let metadata = self.catalog.schema().get(&found.key.kind);
        metadata.is_none_or(|metadata| metadata.retention == Retention::WithStack)
    }

    /// What ends with the stack, by key.
    pub(crate) fn bound(&self, snapshot: &Snapshot) -> Vec<Key> {
        let bound = snapshot
            .found()
            .iter()
            .filter(|found| self.ends_with_stack(found));
        bound.map(|found| found.key.clone()).collect()
    }

    /// What the stack holds after a run that failed.
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

    /// What it takes to end everything that there is.
    pub(crate) fn clearing(&self, live: &Snapshot) -> Result<Plan, Box<Failure>> {
        self.plan(&Stack::new(self.stack.clone()), live)
    }

    /// Ends everything, and looks whether it is gone.
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

    /// That something was ended, and that whether anything is left could not be found out.
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

/// What came of ending everything.
pub(crate) struct Cleared {
    pub(crate) plan: Plan,
    pub(crate) applied: Applied,
    pub(crate) after: Snapshot,
}

/// How many of what: `1 step`, `2 steps`.
pub(crate) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}
