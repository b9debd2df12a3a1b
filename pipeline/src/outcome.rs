//! What comes out: of a deploy, of a destroy, and of one that failed. Plain data, for people and for machines.

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

/// A stack that answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployed {
    /// The stack.
    pub stack: StackName,
    /// The address that a browser is given, ending in a slash.
    pub url: String,
    /// The name that leads to the balancer's nodes; of a single instance, its name or address.
    pub dns_name: String,
    /// The balancer's targets, by zone and id: as many healthy ones as are desired, or more. A single instance is
    /// the one target; whether it answers may not be seen from here, and then its description says so.
    pub targets: Vec<TargetHealth>,
    /// The service of each target, by the target's id; a single instance is of the one service that there is.
    pub services: BTreeMap<String, ResourceName>,
    /// The image that the instances run, by digest; of several services, that of the one without a route.
    pub image: String,
    /// What was changed.
    pub changes: Changes,
    /// From the call to the answer, in milliseconds.
    pub duration_ms: u64,
}

/// What a plan changes, by what is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Made.
    pub create: Vec<Key>,
    /// Changed in place.
    pub update: Vec<Key>,
    /// Made anew, the old one ended.
    pub replace: Vec<Key>,
    /// Ended.
    pub delete: Vec<Key>,
    /// How many stay as they are.
    pub keep: usize,
    /// Releases that exist already and are brought to the instances of their service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<PendingRollout>,
}

impl Changes {
    /// Sorts what is done by the sort of it. What is replaced is listed once, and not again as deleted.
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

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.create.is_empty()
            && self.update.is_empty()
            && self.replace.is_empty()
            && self.delete.is_empty()
            && self.rollouts.is_empty()
    }
}

/// A stack that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destroyed {
    /// The stack.
    pub stack: StackName,
    /// What was ended; nothing, if there was no such stack.
    pub deleted: Vec<Key>,
    /// What outlives its stack, by key: images, for the next deploy.
    pub kept: Vec<Key>,
    /// What a last look found of the stack: always empty, or the destroy would have failed.
    pub left: Vec<Key>,
    /// From the call to that last look, in milliseconds.
    pub duration_ms: u64,
}

/// Why a deploy, plan or destroy did not come to its end.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// How far it had come.
    pub stage: Stage,
    /// What failed, in one line.
    pub message: String,
    /// The errors behind it, each with what was being done to which resource.
    pub errors: Vec<Error>,
    /// The instances that keep a service from being healthy.
    pub targets: Vec<UnhealthyTarget>,
    /// The last lines that a `before` command or an instance of the service wrote.
    pub output: Vec<String>,
    /// What has to be reachable and would not be, and what must not be and would.
    pub broken: Vec<Violation>,
    /// What would have been lost for good, where that is why it was refused.
    pub losses: Vec<IrreversibleChange>,
    /// Further lines that belong to the failure: how a saved plan differs from what is to be done now.
    pub details: Vec<String>,
    /// What was begun and no longer waited for, because the run was stopped: it goes on by itself.
    pub on_its_way: Vec<Key>,
    /// What was not begun, because something before it failed or the run was stopped.
    pub not_started: Vec<Key>,
    /// What to do about it, where the errors do not say so themselves.
    pub hint: Option<String>,
    /// What the stack holds now.
    pub remains: PostFailureState,
    /// How many of its errors a listener was given while the run went on; `None` if it was given nothing.
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

    /// A run that was stopped before it had begun to change anything.
    pub fn interrupted() -> Box<Self> {
        Self::new(
            Stage::Interrupted,
            "interrupted before anything was changed",
        )
    }

    /// A run that did not wait for what was under way.
    pub(crate) fn ended_at_once() -> Box<Self> {
        Box::new(Self {
            remains: PostFailureState::Unknown {
                why: "the run did not wait for the current operations".into(),
            },
            ..*Self::new(Stage::Interrupted, "interrupted, and ended at once")
        })
    }

    /// A run whose provider has ended, or has stopped answering.
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

    /// Whether the provider has not answered.
    pub(crate) fn is_unanswered(&self) -> bool {
        let mut errors = self.errors.iter();
        errors.any(|error| error.kind() == ErrorKind::Unavailable)
            || matches!(self.remains, PostFailureState::Unknown { .. })
    }

    /// A failure that one error tells in full.
    pub(crate) fn of(stage: Stage, doing: &str, error: Error) -> Box<Self> {
        Box::new(Self {
            errors: vec![error],
            ..*Self::new(stage, doing)
        })
    }

    /// With all that a plan that was not carried out in full has to tell: what failed, what goes on, what was not begun.
    pub(crate) fn undone(mut self: Box<Self>, applied: Applied) -> Box<Self> {
        let errors = applied.failed.into_iter().map(|(_, error)| error);
        self.errors.extend(errors);
        self.on_its_way = applied.on_its_way;
        self.not_started = applied.not_started;
        self
    }

    /// Takes another one in that the same run came to.
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
            // Where one of them is not back, all that there is has to be looked at.
            _ => PostFailureState::Unchanged,
        };
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl fmt::Display) -> Box<Self> {
        self.hint = Some(hint.to_string());
        self
    }
}

/// What failed; the errors, targets and lines behind it are in the fields.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// How far a run had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Another run is changing the stack.
    Lock,
    /// A `before` command failed.
    Before,
    /// What an image is made from cannot be read.
    Sources,
    /// What the stack holds cannot be listed.
    Look,
    /// The configuration is no stack that can be planned.
    Plan,
    /// Something that has to be reachable would not be, or something that must not be would.
    Reachability,
    /// The provider says that the plan cannot be carried out.
    Preflight,
    /// An image cannot be built, and nothing was changed yet.
    Build,
    /// The stack is protected.
    Protected,
    /// Nobody said yes to what would be lost.
    Confirmation,
    /// A saved plan is not the one that is to be made now.
    Stale,
    /// What was asked for is beyond what the stack's services have or allow.
    Scale,
    /// Something could not be made, changed or ended.
    Apply,
    /// Everything is there, and the service does not become healthy.
    Health,
    /// The provider has ended or stopped answering while it was waited for.
    Lost,
    /// The stop token was cancelled.
    Interrupted,
}

/// What a failed run leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum PostFailureState {
    /// What was there before: nothing was changed.
    Unchanged,
    /// Nothing: it was the first deploy of the stack, and what it had made was ended again.
    RolledBack {
        /// What was ended.
        deleted: Vec<Key>,
    },
    /// Services that answer as they did before; what else the run has changed stays changed.
    RolledBackServices {
        /// Which, and to which release.
        services: Vec<RolledBackService>,
    },
    /// These resources.
    Resources {
        /// By key, images left out.
        keys: Vec<Key>,
        /// Which command goes on from here.
        next: String,
    },
    /// Nothing: the provider has ended, and everything that it held has ended with it.
    EndedWithProvider,
    /// Not known: they could not be listed. The next run finds out.
    Unknown {
        /// Why they could not be listed.
        why: String,
    },
}

/// A service whose new release did not become healthy, and which is back at the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBackService {
    /// The service.
    pub service: ResourceName,
    /// The release that was given up.
    pub from: u32,
    /// The one that serves.
    pub to: u32,
}

/// An instance that does not take requests, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnhealthyTarget {
    /// The service that it is of.
    pub service: String,
    /// The instance.
    pub id: String,
    /// The zone that it stands in, if that is known.
    pub zone: Option<Zone>,
    /// How it is: `unhealthy`, `initial`, `failed`, …
    pub state: String,
    /// The reason by the code that AWS users know.
    pub reason: Option<HealthReason>,
    /// What was seen: `status 404 instead of 200`, `exited with code 1`.
    pub seen: Option<String>,
    /// The cause in one clause; the failure's message ends with that of the first.
    pub cause: Option<String>,
    /// The hint.
    pub advice: Option<String>,
}

/// Whole milliseconds, for results.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
