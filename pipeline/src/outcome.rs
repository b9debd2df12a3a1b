//! The results of operations and their failures, as plain data for people and programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use landfall_lb::{HealthReason, TargetHealth};
use landfall_provider::{
    Applied, Error, ErrorKind, IrreversibleChange, Key, LockLoss, ResourceName, StackName, Zone,
};
use serde::Serialize;

use crate::reach::Violation;
use crate::review::{ChangeKind, PendingRollout, Review};

/// A deployed stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployed {
    /// The stack.
    pub stack: StackName,
    /// The URL for browsers, with a final slash.
    pub url: String,
    /// The DNS name of the load balancer; of a single instance, its name or address.
    pub dns_name: String,
    /// The load balancer's targets, by zone and id: at least the desired number of healthy ones. A single instance is
    /// the only target; if this machine cannot reach it, its description says so.
    pub targets: Vec<TargetHealth>,
    /// The service of each target, by the target's id.
    pub services: BTreeMap<String, ResourceName>,
    /// The image of the instances, by digest; of several services, that of the service without a route.
    pub image: String,
    /// The changes.
    pub changes: Changes,
    /// From the call to the answer, in milliseconds.
    pub duration_ms: u64,
}

/// The changes of a plan, by their type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Created.
    pub create: Vec<Key>,
    /// Changed in place.
    pub update: Vec<Key>,
    /// Replaced.
    pub replace: Vec<Key>,
    /// Deleted.
    pub delete: Vec<Key>,
    /// The number of unchanged resources.
    pub keep: usize,
    /// Existing releases that are rolled out to the instances of their service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<PendingRollout>,
}

impl Changes {
    /// Groups the changes by their type. A replaced resource is not listed as deleted, too.
    pub fn of(review: &Review) -> Self {
        let mut changes = Self {
            keep: review.unchanged,
            rollouts: review.rollouts.clone(),
            ..Self::default()
        };
        for resource in &review.resources {
            let list = match resource.action {
                ChangeKind::Create | ChangeKind::CreateBeside => &mut changes.create,
                ChangeKind::Update => &mut changes.update,
                ChangeKind::CreateThenDelete | ChangeKind::DeleteThenCreate => &mut changes.replace,
                ChangeKind::Delete => &mut changes.delete,
            };
            list.push(resource.key.clone());
        }
        changes
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty()
            && self.update.is_empty()
            && self.replace.is_empty()
            && self.delete.is_empty()
            && self.rollouts.is_empty()
    }
}

/// A destroyed stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destroyed {
    /// The stack.
    pub stack: StackName,
    /// The deleted resources; empty if the stack did not exist.
    pub deleted: Vec<Key>,
    /// The resources that outlive the stack, by key: images, for the next deploy.
    pub kept: Vec<Key>,
    /// The resources that a final listing found: always empty, otherwise the destroy fails.
    pub left: Vec<Key>,
    /// From the call to the final listing, in milliseconds.
    pub duration_ms: u64,
}

/// The failure of an operation.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The stage that failed.
    pub stage: Stage,
    /// The failure, in one line.
    pub message: String,
    /// The errors, each with its operation and resource.
    pub errors: Vec<Error>,
    /// The unhealthy instances.
    pub targets: Vec<UnhealthyTarget>,
    /// The last output of a `before` command or of an instance.
    pub output: Vec<String>,
    /// The violations of the reachability check.
    pub broken: Vec<Violation>,
    /// The irreversible losses, if they are the reason of the refusal.
    pub losses: Vec<IrreversibleChange>,
    /// Further lines: the differences of a saved plan from the current one.
    pub details: Vec<String>,
    /// The operations that the stopped run no longer waited for; they continue by themselves.
    pub on_its_way: Vec<Key>,
    /// The steps that did not start, after a failure or a stop.
    pub not_started: Vec<Key>,
    /// The hint, unless the errors have one.
    pub hint: Option<String>,
    /// The state of the stack after the failure.
    pub remains: PostFailureState,
    /// The number of errors that were reported during the run; `None` if the failure was not reported.
    #[serde(skip)]
    pub reported: Option<usize>,
}

impl Failure {
    pub(crate) fn new(stage: Stage, message: impl fmt::Display) -> Box<Self> {
        Box::new(Self {
            stage,
            message: message.to_string(),
            errors: Vec::new(),
            targets: Vec::new(),
            output: Vec::new(),
            broken: Vec::new(),
            losses: Vec::new(),
            details: Vec::new(),
            on_its_way: Vec::new(),
            not_started: Vec::new(),
            hint: None,
            remains: PostFailureState::Unchanged,
            reported: None,
        })
    }

    /// A run that was stopped before its first change.
    pub fn interrupted() -> Box<Self> {
        Self::new(
            Stage::Interrupted,
            "interrupted before anything was changed",
        )
    }

    /// A run that did not wait for its running operations.
    pub(crate) fn ended_at_once() -> Box<Self> {
        Box::new(Self {
            remains: PostFailureState::Unknown {
                why: "the run did not wait for the current operations".into(),
            },
            ..*Self::new(Stage::Interrupted, "interrupted, and ended at once")
        })
    }

    /// A run whose provider has ended, or does not answer.
    pub(crate) fn lost(loss: LockLoss) -> Box<Self> {
        let (error, remains) = match loss {
            LockLoss::Ended(error) => (error, PostFailureState::EndedWithProvider),
            LockLoss::Silent(error) => {
                let why = "the provider does not answer".into();
                (error, PostFailureState::Unknown { why })
            }
        };
        let message = error.to_string();
        Box::new(Self {
            remains,
            ..*Self::of(Stage::Lost, &message, error)
        })
    }

    /// Whether the provider did not answer.
    pub(crate) fn is_unanswered(&self) -> bool {
        let mut errors = self.errors.iter();
        errors.any(|error| error.kind() == ErrorKind::Unavailable)
            || matches!(self.remains, PostFailureState::Unknown { .. })
    }

    /// A failure with one error.
    pub(crate) fn of(stage: Stage, doing: &str, error: Error) -> Box<Self> {
        Box::new(Self {
            errors: vec![error],
            ..*Self::new(stage, doing)
        })
    }

    /// Adds the result of an incomplete plan: the errors, the running operations, and the steps that did not start.
    pub(crate) fn undone(mut self: Box<Self>, applied: Applied) -> Box<Self> {
        let errors = applied.failed.into_iter().map(|(_, error)| error);
        self.errors.extend(errors);
        self.on_its_way = applied.on_its_way;
        self.not_started = applied.not_started;
        self
    }

    /// Merges another failure of the same run.
    pub(crate) fn join(&mut self, other: Self) {
        self.message = format!("{}; {}", self.message, other.message);
        self.errors.extend(other.errors);
        self.targets.extend(other.targets);
        self.on_its_way.extend(other.on_its_way);
        self.not_started.extend(other.not_started);
        if self.output.is_empty() {
            self.output = other.output;
        }
        self.hint = self.hint.take().or(other.hint);
        self.remains = match (
            std::mem::replace(&mut self.remains, PostFailureState::Unchanged),
            other.remains,
        ) {
            (
                PostFailureState::RolledBackServices { mut services },
                PostFailureState::RolledBackServices { services: more },
            ) => {
                services.extend(more);
                PostFailureState::RolledBackServices { services }
            }
            // If one service was not rolled back, the state of the stack has to be listed.
            _ => PostFailureState::Unchanged,
        };
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl fmt::Display) -> Box<Self> {
        self.hint = Some(hint.to_string());
        self
    }
}

/// Shows the message; the errors, targets and lines are in the fields.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The stage of a run at its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Another run is changing the stack.
    Lock,
    /// A `before` command failed.
    Before,
    /// The source of an image cannot be read.
    Sources,
    /// The resources of the stack cannot be listed.
    Look,
    /// The stack of the configuration cannot be planned.
    Plan,
    /// The reachability check failed.
    Reachability,
    /// The provider objects to the plan.
    Preflight,
    /// An image cannot be built; nothing was changed.
    Build,
    /// The stack is protected.
    Protected,
    /// The confirmation of an irreversible change is missing.
    Confirmation,
    /// A saved plan differs from the current one.
    Stale,
    /// The requested capacity is invalid for the stack's services.
    Scale,
    /// A resource could not be created, changed or deleted.
    Apply,
    /// All resources exist, but a service is not healthy.
    Health,
    /// The provider has ended or does not answer.
    Lost,
    /// The stop token was cancelled.
    Interrupted,
}

/// The state of the stack after a failed run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum PostFailureState {
    /// Unchanged.
    Unchanged,
    /// Empty: it was the first deploy of the stack, and its resources were deleted again.
    RolledBack {
        /// The deleted resources.
        deleted: Vec<Key>,
    },
    /// Services were rolled back; the other changes of the run remain.
    RolledBackServices {
        /// The services, with their releases.
        services: Vec<RolledBackService>,
    },
    /// These resources exist.
    Resources {
        /// The keys, without images.
        keys: Vec<Key>,
        /// The command that continues.
        next: String,
    },
    /// Empty: the provider has ended, and all its resources with it.
    EndedWithProvider,
    /// Unknown: the resources could not be listed.
    Unknown {
        /// The error of the listing.
        why: String,
    },
}

/// A service that was rolled back, because its new release did not become healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBackService {
    /// The service.
    pub service: ResourceName,
    /// The abandoned release.
    pub from: u32,
    /// The serving release.
    pub to: u32,
}

/// An unhealthy instance, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnhealthyTarget {
    /// Its service.
    pub service: String,
    /// The instance.
    pub id: String,
    /// Its zone, if known.
    pub zone: Option<Zone>,
    /// Its state: `unhealthy`, `initial`, `failed`, …
    pub state: String,
    /// The reason code of AWS.
    pub reason: Option<HealthReason>,
    /// The observation: `status 404 instead of 200`, `exited with code 1`.
    pub seen: Option<String>,
    /// The cause in one clause; the failure's message ends with the first one.
    pub cause: Option<String>,
    /// The hint.
    pub advice: Option<String>,
}

/// Whole milliseconds, for results.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
