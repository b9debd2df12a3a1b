//! The worker: runs one step of a plan from its first call to its end.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::job::Job;
use super::{ApplyOptions, ReadyResource};
use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, Left, Result};
use crate::event::{Event, Operation, millis};
use crate::name::{Key, StackName};
use crate::plan::{Action, Step};
use crate::provider::Probe;

/// The end of a step that did not fail.
pub(super) enum End {
    Usable(ReadyResource),
    Gone(String),
    /// The run was stopped before the operation finished.
    OnItsWay(String),
}

impl End {
    fn id(&self) -> &str {
        match self {
            Self::Usable(ReadyResource { id, .. }) | Self::Gone(id) | Self::OnItsWay(id) => id,
        }
    }
}

/// The data that every step needs.
pub(super) struct Worker<'a, P: ?Sized> {
    pub(super) stack: &'a StackName,
    pub(super) provider: &'a P,
    pub(super) catalog: &'a Catalog<P>,
    pub(super) options: &'a ApplyOptions,
    pub(super) calls: Semaphore,
    /// The ids known so far.
    pub(super) ids: Mutex<BTreeMap<Key, String>>,
    /// Reports to the loop that the resource of a step has an id.
    pub(super) exists: mpsc::UnboundedSender<usize>,
}

impl<P: ?Sized + Send + Sync> Worker<'_, P> {
    pub(super) async fn run(&self, index: usize, step: &Step) -> (usize, Result<End>) {
        let verb = match &step.action {
            Action::Keep { .. } => Operation::Await,
            Action::Create { .. } => Operation::Create,
            Action::Update { .. } => Operation::Update,
            Action::Delete { .. } => Operation::Delete,
        };
        let emit = |event| self.options.events.emit(event);
        // A resource that is kept and usable needs no event.
        let silent =
            matches!(&step.action, Action::Keep { live } if matches!(live.state, Probe::Usable(_)));
        let started = Instant::now();
        if !silent {
            emit(Event::Started {
                key: step.key.clone(),
                verb,
            });
        }
        // A panic in one provider must not abort the other steps.
        let span = tracing::info_span!("operation", key = %step.key, verb = %verb);
        let outcome = AssertUnwindSafe(self.carry_out(index, step))
            .catch_unwind()
            .instrument(span.clone())
            .await
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        span.in_scope(|| log_end(&outcome, started));
        match &outcome {
            Ok(_) if silent => {}
            Ok(End::OnItsWay(id)) => emit(Event::Waiting {
                key: step.key.clone(),
                id: id.clone(),
                why: "no longer waited for".to_owned(),
            }),
            Ok(end) => emit(Event::Done {
                key: step.key.clone(),
                verb,
                id: end.id().to_owned(),
                took_ms: millis(started.elapsed()),
            }),
            Err(error) => emit(Event::Failed {
                key: step.key.clone(),
                verb,
                error: error.to_string(),
            }),
        }
        let outcome = outcome.map_err(|error| error.doing(&verb.to_string(), &step.key));
        (index, outcome)
    }

    async fn carry_out(&self, index: usize, step: &Step) -> Result<End> {
        let kind = self.catalog.kind(&step.key.kind)?;
        let Some(metadata) = self.catalog.schema().get(&step.key.kind) else {
            return Err(Error::new(ErrorKind::Invalid, "unknown kind"));
        };
        let mut job = Job::new(self, &step.key, kind, metadata);
        let id = match &step.action {
            Action::Keep { live } => {
                // The listing behind the plan already holds the output.
                if let Probe::Usable(output) = &live.state {
                    self.exists(index, &step.key, &live.id);
                    return Ok(End::Usable(ReadyResource {
                        id: live.id.clone(),
                        output: output.clone(),
                    }));
                }
                live.id.clone()
            }
            Action::Create { desired, .. } => job.create(desired).await?,
            Action::Update { live, desired, .. } => {
                let left = |error: Error| error.left(Left::Resource(live.id.clone()));
                job.update(live, desired).await.map_err(left)?;
                live.id.clone()
            }
            Action::Delete { live, .. } => {
                let left = |error: Error| error.left(Left::Resource(live.id.clone()));
                return job.delete(live).await.map_err(left);
            }
        };
        self.exists(index, &step.key, &id);
        job.usable(&id)
            .await
            .map_err(|error| error.left(Left::Resource(id)))
    }

    fn exists(&self, index: usize, key: &Key, id: &str) {
        self.ids().insert(key.clone(), id.to_owned());
        // The loop receives as long as any step runs.
        let _ = self.exists.send(index);
    }

    pub(super) fn ids(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs the end of an operation, in its span.
fn log_end(outcome: &Result<End>, started: Instant) {
    let took_ms = millis(started.elapsed());
    match outcome {
        Ok(End::Usable(ready)) => tracing::info!(id = ready.id, took_ms, "ready"),
        Ok(End::Gone(id)) => tracing::info!(id, took_ms, "deleted"),
        Ok(End::OnItsWay(id)) => tracing::info!(id, took_ms, "no longer waited for"),
        Err(error) => tracing::info!(%error, took_ms, "failed"),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(
        ErrorKind::Other,
        format_args!("the provider crashed: {text}"),
    )
    .left(Left::Unknown)
    .hint("this is a bug in the program; run it again to see the state of the stack")
}
