//! One step of a plan: the call, and the waiting until it has had its effect.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::{ApplyOptions, Settled};
use crate::catalog::{AnyKind, Catalog};
use crate::error::{Error, ErrorKind, Left, Result};
use crate::event::{Event, Verb, millis};
use crate::name::{Key, StackName};
use crate::plan::{Action, Step};
use crate::provider::Probe;
use crate::schema::{KindFacts, Mention};
use crate::snapshot::Found;

/// How a step ended that did not fail.
pub(super) enum End {
    Usable(Settled),
    Gone(String),
    /// The run was stopped while this was on its way.
    OnItsWay(String),
}

impl End {
    fn id(&self) -> &str {
        match self {
            Self::Usable(Settled { id, .. }) | Self::Gone(id) | Self::OnItsWay(id) => id,
        }
    }
}

/// What every step needs to be carried out.
pub(super) struct Worker<'a, P: ?Sized> {
    pub(super) stack: &'a StackName,
    pub(super) provider: &'a P,
    pub(super) catalog: &'a Catalog<P>,
    pub(super) options: &'a ApplyOptions,
    pub(super) calls: Semaphore,
    /// The ids that are known by now.
    pub(super) ids: Mutex<BTreeMap<Key, String>>,
    /// Tells the loop that a step's resource has its id.
    pub(super) exists: mpsc::UnboundedSender<usize>,
}

/// One step under way.
struct Job<'a, P: ?Sized> {
    worker: &'a Worker<'a, P>,
    key: &'a Key,
    kind: &'a dyn AnyKind<P>,
    facts: &'a KindFacts,
    /// When it has to be done, from its first call on.
    deadline: Option<Instant>,
}

impl<P: ?Sized + Send + Sync> Worker<'_, P> {
    pub(super) async fn run(&self, index: usize, step: &Step) -> (usize, Result<End>) {
        let verb = match &step.action {
            Action::Keep { .. } => Verb::Await,
            Action::Create { .. } => Verb::Create,
            Action::Update { .. } => Verb::Update,
            Action::Delete { .. } => Verb::Delete,
        };
        let emit = |event| self.options.events.emit(event);
        // What is kept and usable is no news.
        let silent =
            matches!(&step.action, Action::Keep { live } if matches!(live.state, Probe::Usable(_)));
        let started = Instant::now();
        if !silent {
            emit(Event::Started {
                key: step.key.clone(),
                verb,
            });
        }
        // One provider's mistake must not take along what others have under way.
        let outcome = AssertUnwindSafe(self.carry_out(index, step))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
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
        let Some(facts) = self.catalog.schema().get(&step.key.kind) else {
            return Err(Error::new(ErrorKind::Invalid, "unknown kind"));
        };
        let mut job = Job {
            worker: self,
            key: &step.key,
            kind,
            facts,
            deadline: None,
        };
        let id = match &step.action {
            Action::Keep { live } => {
                // The listing that the plan was made from has said all that there is to know.
                if let Probe::Usable(output) = &live.state {
                    self.exists(index, &step.key, &live.id);
                    return Ok(End::Usable(Settled {
                        id: live.id.clone(),
                        output: output.clone(),
                    }));
                }
                live.id.clone()
            }
            Action::Create { want, .. } => job.create(want).await?,
            Action::Update { live, want, .. } => {
                let left = |error: Error| error.left(Left::Resource(live.id.clone()));
                job.update(live, want).await.map_err(left)?;
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
        // The loop listens as long as any step runs.
        let _ = self.exists.send(index);
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: ?Sized + Send + Sync> Job<'_, P> {
    async fn create(&mut self, want: &Value) -> Result<String> {
        let want = self.resolved(want)?;
        let Worker {
            provider, stack, ..
        } = *self.worker;
        let (kind, key) = (self.kind, self.key);
        let made = self
            .persist(|| kind.create(provider, stack, key, &want))
            .await;
        made.map_err(|error| match error.kind() {
            // Whether the call had its effect, only the next listing can say.
            ErrorKind::Unavailable | ErrorKind::Timeout => error.left(Left::Unknown),
            _ => error,
        })
    }

    async fn update(&mut self, live: &Found, want: &Value) -> Result<()> {
        let want = self.resolved(want)?;
        let (kind, provider) = (self.kind, self.worker.provider);
        self.persist(|| kind.update(provider, live, &want)).await
    }

    /// Waits until the resource can be used.
    async fn usable(&mut self, id: &str) -> Result<End> {
        let output = self
            .until(id, |probe| match probe {
                Probe::Usable(output) => Ok(Ok(output)),
                Probe::Failed(why) => Err(Error::new(ErrorKind::Other, why)),
                Probe::Ending(why) => Err(Error::new(
                    ErrorKind::Other,
                    format_args!("somebody is deleting it: {why}"),
                )),
                Probe::Absent => Ok(Err("not visible yet".to_owned())),
                Probe::Pending(why) => Ok(Err(why)),
            })
            .await?;
        Ok(match output {
            Some(output) => End::Usable(Settled {
                id: id.to_owned(),
                output,
            }),
            None => End::OnItsWay(id.to_owned()),
        })
    }

    /// Deletes, and waits until it is gone. Being refused because others still use it is waited out.
    async fn delete(&mut self, live: &Found) -> Result<End> {
        let (kind, provider) = (self.kind, self.worker.provider);
        let mut pause = self.worker.options.pace.first;
        let mut told = None;
        loop {
            let refused = match self.persist(|| kind.delete(provider, live)).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(End::Gone(live.id.clone()));
                }
                Err(error) if error.kind() == ErrorKind::InUse => error,
                Err(error) => return Err(error),
            };
            self.tell(&mut told, &live.id, refused.to_string());
            match self.pause(&mut pause).await {
                Paused::Again => {}
                Paused::TimeIsUp => return Err(refused),
                Paused::Stopped => return Ok(End::OnItsWay(live.id.clone())),
            }
        }
        // What had failed before it was asked to go may say so until it is gone.
        let had_failed = matches!(live.state, Probe::Failed(_));
        let gone = self
            .until(&live.id, |probe| match probe {
                Probe::Absent => Ok(Ok(())),
                Probe::Failed(why) if !had_failed => Err(Error::new(ErrorKind::Other, why)),
                Probe::Failed(why) | Probe::Pending(why) | Probe::Ending(why) => Ok(Err(why)),
                Probe::Usable(_) => Ok(Err("still there".to_owned())),
            })
            .await?;
        Ok(match gone {
            Some(()) => End::Gone(live.id.clone()),
            None => End::OnItsWay(live.id.clone()),
        })
    }

    /// The spec with every id in its place.
    fn resolved(&self, want: &Value) -> Result<Value> {
        let misfit =
            |error| Error::new(ErrorKind::Invalid, "a spec does not fit its kind").caused_by(error);
        let want = self
            .facts
            .resolve(want, &|key| self.worker.ids().get(key).cloned())
            .map_err(misfit)?;
        for mention in self.facts.mentions(&want).map_err(misfit)? {
            if let Mention::Key(key) = mention {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format_args!("the plan does not put {key} before it"),
                ));
            }
        }
        Ok(want)
    }

    /// Looks again and again until `look` finds what is waited for; `None` when the run was stopped
    /// first. What is there instead, `look` gives in words.
    async fn until<T>(
        &mut self,
        id: &str,
        look: impl Fn(Probe<Value>) -> Result<std::result::Result<T, String>>,
    ) -> Result<Option<T>> {
        let (kind, provider) = (self.kind, self.worker.provider);
        let mut pause = self.worker.options.pace.first;
        let mut told = None;
        loop {
            let probe = self.persist(|| kind.probe(provider, id)).await?;
            let why = match look(probe)? {
                Ok(found) => return Ok(Some(found)),
                Err(why) => why,
            };
            self.tell(&mut told, id, why.clone());
            match self.pause(&mut pause).await {
                Paused::Again => {}
                Paused::TimeIsUp => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format_args!("not done in time; last seen: {why}"),
                    ));
                }
                Paused::Stopped => return Ok(None),
            }
        }
    }

    /// Calls, and calls again for a while when there was no answer or there were too many calls.
    ///
    /// Every verb may be called again: [`Provider`](crate::Provider) says so.
    async fn persist<T, F>(&mut self, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let pace = self.worker.options.pace;
        let mut pause = pace.first;
        let mut give_up = None;
        loop {
            let error = match self.call(call()).await {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Unavailable) =>
                {
                    error
                }
                outcome => return outcome,
            };
            let give_up = *give_up.get_or_insert_with(|| Instant::now() + pace.patience());
            if Instant::now() >= give_up {
                return Err(error);
            }
            match self.pause(&mut pause).await {
                Paused::Again => {}
                Paused::TimeIsUp | Paused::Stopped => return Err(error),
            }
        }
    }

    /// One call, as soon as not too many others are under way. It is given up at the deadline, but even
    /// the last one has a while to answer.
    async fn call<T>(&mut self, call: impl Future<Output = Result<T>>) -> Result<T> {
        // The semaphore is never closed; without a permit the call would be one too many, no more.
        let _permit = self.worker.calls.acquire().await;
        let least = Instant::now() + self.worker.options.pace.patience();
        tokio::time::timeout_at(self.deadline().max(least), call)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Timeout,
                    "no answer until the deadline",
                ))
            })
    }

    fn deadline(&mut self) -> Instant {
        *self
            .deadline
            .get_or_insert_with(|| Instant::now() + self.facts.deadline)
    }

    /// Waits until the next look is due.
    async fn pause(&mut self, pause: &mut Duration) -> Paused {
        let options = self.worker.options;
        let left = self.deadline().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Paused::TimeIsUp;
        }
        tokio::select! {
            biased;
            () = options.stop.cancelled() => return Paused::Stopped,
            () = tokio::time::sleep(left.min(*pause)) => {}
        }
        *pause = options.pace.next(*pause);
        Paused::Again
    }

    /// Says what is being waited for, each time that it is something else.
    fn tell(&self, told: &mut Option<String>, id: &str, why: String) {
        if told.as_ref() != Some(&why) {
            self.worker.options.events.emit(Event::Waiting {
                key: self.key.clone(),
                id: id.to_owned(),
                why: why.clone(),
            });
            *told = Some(why);
        }
    }
}

enum Paused {
    Again,
    TimeIsUp,
    Stopped,
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(
        ErrorKind::Other,
        format_args!("the provider failed in itself: {text}"),
    )
    .left(Left::Unknown)
    .hint("this is a mistake in the program; running it again finds out what was done")
}
