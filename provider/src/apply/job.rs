//! The work of one step on its resource: calls, retries, and waiting for their effect.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::ReadyResource;
use super::worker::{End, Worker};
use crate::catalog::AnyKind;
use crate::error::{Error, ErrorKind, Left, Result};
use crate::event::Event;
use crate::name::Key;
use crate::provider::Probe;
use crate::schema::{KindMetadata, ResolvedRef};
use crate::snapshot::Found;

/// After this many probes in a row without a resource that was seen before, it is gone, and not
/// only temporarily invisible.
const GONE_AFTER: u32 = 3;

/// After this many probes in a row that show a resource of this run as failed, it has failed. A cloud may show for some
/// seconds the state before the change, such as a tag that is already removed.
const FAILED_AFTER: u32 = 3;

/// Errors that are retried for every operation.
const PASSING: &[ErrorKind] = &[ErrorKind::Throttled, ErrorKind::Unavailable];

/// Errors that are also retried for recently created resources, which may not be visible everywhere
/// yet.
const PASSING_WHILE_NEW: &[ErrorKind] = &[
    ErrorKind::Throttled,
    ErrorKind::Unavailable,
    ErrorKind::NotFound,
];

/// One step in progress.
pub(super) struct Job<'a, P: ?Sized> {
    worker: &'a Worker<'a, P>,
    key: &'a Key,
    kind: &'a dyn AnyKind<P>,
    metadata: &'a KindMetadata,
    /// The time of its first call.
    began: Option<Instant>,
    /// Whether this run creates the resource, and so knows when its creation started.
    is_new: bool,
    /// Whether this run creates or updates the resource.
    is_changed: bool,
    /// Whether the step deletes the resource.
    ends: bool,
}

impl<'a, P: ?Sized + Send + Sync> Job<'a, P> {
    pub(super) fn new(
        worker: &'a Worker<'a, P>,
        key: &'a Key,
        kind: &'a dyn AnyKind<P>,
        metadata: &'a KindMetadata,
    ) -> Self {
        Self {
            worker,
            key,
            kind,
            metadata,
            began: None,
            is_new: false,
            is_changed: false,
            ends: false,
        }
    }

    pub(super) async fn create(&mut self, desired: &Value) -> Result<String> {
        let (desired, passing) = self.resolved(desired)?;
        (self.is_new, self.is_changed) = (true, true);
        let Worker {
            provider, stack, ..
        } = *self.worker;
        let (kind, key) = (self.kind, self.key);
        let made = self
            .persist(passing, || kind.create(provider, stack, key, &desired))
            .await;
        made.map_err(|error| match error.kind() {
            // Only the next listing can tell whether the call had its effect.
            ErrorKind::Unavailable | ErrorKind::Timeout => error.left(Left::Unknown),
            ErrorKind::AlreadyExists => error.or_hint(
                "a resource with the same name or address does not belong to this stack: if it should, restore its tags \
                 (landfall:stack, landfall:name); otherwise rename or delete it",
            ),
            _ => error,
        })
    }

    pub(super) async fn update(&mut self, live: &Found, desired: &Value) -> Result<()> {
        let (desired, passing) = self.resolved(desired)?;
        self.is_changed = true;
        let (kind, provider) = (self.kind, self.worker.provider);
        let updated = self
            .persist(passing, || kind.update(provider, live, &desired))
            .await;
        updated.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.or_hint(
                "somebody has deleted the resource, or one that it refers to, since the plan was made: \
                 run the command again to create it",
            ),
            _ => error,
        })
    }

    /// Waits until the resource is usable.
    pub(super) async fn usable(&mut self, id: &str) -> Result<End> {
        let mut seen = false;
        let (mut missed, mut failed) = (0, 0);
        let changed = self.is_changed;
        let output = self
            .until(id, |probe| {
                if probe != Probe::Absent {
                    (seen, missed) = (true, 0);
                }
                failed = match probe {
                    Probe::Failed(_) => failed + 1,
                    _ => 0,
                };
                match probe {
                    Probe::Usable(output) => Ok(Ok(output)),
                    Probe::Failed(why) if changed && failed < FAILED_AFTER => Ok(Err(why)),
                    Probe::Failed(why) => Err(Error::new(ErrorKind::Other, why)),
                    Probe::Ending(why) => Err(Error::new(
                        ErrorKind::Other,
                        format_args!("somebody is deleting it: {why}"),
                    )),
                    Probe::Absent if seen => {
                        missed += 1;
                        match missed < GONE_AFTER {
                            true => Ok(Err("no longer listed".to_owned())),
                            false => {
                                Err(Error::new(ErrorKind::NotFound, "somebody has deleted it")
                                    .hint("run the command again to create it"))
                            }
                        }
                    }
                    Probe::Absent => Ok(Err("not visible yet".to_owned())),
                    Probe::Pending(why) => Ok(Err(why)),
                }
            })
            .await?;
        Ok(match output {
            Some(output) => End::Usable(ReadyResource {
                id: id.to_owned(),
                output,
            }),
            None => End::OnItsWay(id.to_owned()),
        })
    }

    /// Deletes the resource, and waits until it is gone. A refusal because others still use it is
    /// retried.
    pub(super) async fn delete(&mut self, live: &Found) -> Result<End> {
        let (kind, provider) = (self.kind, self.worker.provider);
        self.ends = true;
        let mut pause = self.worker.options.poll_interval.first;
        let mut last_reason = None;
        let mut asked = 0;
        loop {
            asked += 1;
            let refused = match self.persist(PASSING, || kind.delete(provider, live)).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(End::Gone(live.id.clone()));
                }
                Err(error) if error.kind() == ErrorKind::InUse => error,
                // A policy that allows deletion by tag also denies it once the resource is gone.
                Err(error) if error.kind() == ErrorKind::Denied => {
                    let probe = self
                        .persist(PASSING, || kind.probe(provider, &live.id))
                        .await;
                    return match probe {
                        Ok(Probe::Absent) => Ok(End::Gone(live.id.clone())),
                        _ => Err(error),
                    };
                }
                Err(error) => return Err(error),
            };
            tracing::debug!(id = live.id, attempt = asked, error = %refused, "still in use; the delete is retried");
            self.tell(&mut last_reason, &live.id, refused.to_string());
            match self.pause(&mut pause).await {
                Paused::Again => {}
                Paused::TimeIsUp => return Err(refused.tried(asked, self.elapsed())),
                Paused::Stopped => return Ok(End::OnItsWay(live.id.clone())),
            }
        }
        // A resource that had failed before may report that failure until it is gone.
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

    /// The spec with every reference replaced by its id, and the errors to retry with such a spec:
    /// a cloud may need a moment to find a resource that this run created.
    fn resolved(&self, desired: &Value) -> Result<(Value, &'static [ErrorKind])> {
        let spec_mismatch = |error| {
            Error::new(ErrorKind::Invalid, "the spec does not match its kind").caused_by(error)
        };
        let mut passing = PASSING;
        let resolved = self
            .metadata
            .resolve(desired, &|key| self.worker.ids().get(key).cloned())
            .map_err(spec_mismatch)?;
        if resolved != *desired {
            passing = PASSING_WHILE_NEW;
        }
        for reference in self
            .metadata
            .resolved_refs(&resolved)
            .map_err(spec_mismatch)?
        {
            if let ResolvedRef::Key(key) = reference {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format_args!("the plan does not order {key} before it"),
                ));
            }
        }
        Ok((resolved, passing))
    }

    /// Repeats `look` until it returns a value; `None` when the run was stopped first. Until then,
    /// `look` returns the present state in words.
    async fn until<T>(
        &mut self,
        id: &str,
        mut look: impl FnMut(Probe<Value>) -> Result<std::result::Result<T, String>>,
    ) -> Result<Option<T>> {
        let (kind, provider) = (self.kind, self.worker.provider);
        let mut pause = self.worker.options.poll_interval.first;
        let mut last_reason = None;
        loop {
            let probe = self.persist(PASSING, || kind.probe(provider, id)).await?;
            let why = match look(probe)? {
                Ok(found) => return Ok(Some(found)),
                Err(why) => why,
            };
            tracing::debug!(id, status = why, "not ready; it is probed again");
            self.tell(&mut last_reason, id, why.clone());
            match self.pause(&mut pause).await {
                Paused::Again => {}
                Paused::TimeIsUp => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format_args!("timed out; last status: {why}"),
                    ));
                }
                Paused::Stopped => return Ok(None),
            }
        }
    }

    /// Calls, and repeats the call for a while after a retryable error; after throttling, until the
    /// deadline.
    ///
    /// Every operation may be repeated, by the contract of [`Provider`](crate::Provider). A
    /// throttled call keeps its permit, so that other calls slow down with it.
    async fn persist<T, F>(&mut self, passing: &[ErrorKind], call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let poll_interval = self.worker.options.poll_interval;
        let mut pause = poll_interval.first;
        let mut first_failure = None;
        let mut tried = 0;
        let mut place = None;
        loop {
            tried += 1;
            let own = match place.take() {
                Some(own) => own,
                None => self.place().await,
            };
            let error = match self.call(call()).await {
                Err(error) if passing.contains(&error.kind()) => error,
                outcome => return outcome,
            };
            let since = *first_failure.get_or_insert_with(Instant::now);
            let mut gave_up = since.elapsed() >= poll_interval.time_limit().max(error.time_limit());
            let mut next = pause;
            if error.kind() == ErrorKind::Throttled {
                place = Some(own);
                gave_up = false;
                next = self.scattered(pause, tried);
            }
            tracing::debug!(attempt = tried, gave_up, %error, "the call failed");
            gave_up = gave_up || !matches!(self.pause(&mut next).await, Paused::Again);
            if gave_up {
                return Err(error.tried(tried, since.elapsed()));
            }
            pause = poll_interval.next(pause);
        }
    }

    /// A random pause between half of `pause` and all of it, so that calls refused together are not
    /// repeated together.
    fn scattered(&self, pause: Duration, tried: u32) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.key.kind.as_str(), self.key.name.as_str(), tried).hash(&mut hasher);
        let part = f64::from(hasher.finish() as u8) / 255.0;
        pause.mul_f64(0.5 + part / 2.0)
    }

    /// Acquires a permit for one of the concurrent calls.
    async fn place(&self) -> Option<SemaphorePermit<'a>> {
        // The semaphore is never closed; without a permit there would be one concurrent call too
        // many, no more.
        self.worker.calls.acquire().await.ok()
    }

    /// One call. It is aborted at the deadline, but even the last call gets some time to answer.
    async fn call<T>(&mut self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let least = Instant::now() + self.worker.options.poll_interval.time_limit();
        let given_up = self.deadline().max(least);
        let began = Instant::now();
        tokio::time::timeout_at(given_up, call)
            .await
            .unwrap_or_else(|_| {
                let waited = began.elapsed().as_secs();
                Err(Error::new(
                    ErrorKind::Timeout,
                    format_args!("no answer for {waited} s"),
                ))
            })
    }

    fn began(&mut self) -> Instant {
        *self.began.get_or_insert_with(Instant::now)
    }

    fn elapsed(&mut self) -> Duration {
        self.began().elapsed()
    }

    fn deadline(&mut self) -> Instant {
        let allowed = match self.ends {
            true => self.metadata.delete_timeout,
            false => self.metadata.deadline,
        };
        self.began() + allowed
    }

    /// Waits until the next probe is due.
    async fn pause(&mut self, pause: &mut Duration) -> Paused {
        let options = self.worker.options;
        let left = self.deadline().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Paused::TimeIsUp;
        }
        let mut until_next = *pause;
        if self.is_new {
            until_next = options.poll_interval.around(
                self.metadata.typical_create_time,
                self.elapsed(),
                *pause,
            );
        }
        tokio::select! {
            biased;
            () = options.stop.cancelled() => return Paused::Stopped,
            () = tokio::time::sleep(left.min(until_next)) => {}
        }
        *pause = options.poll_interval.next(*pause);
        Paused::Again
    }

    /// Emits the reason for waiting, each time that it changes.
    fn tell(&self, last_reason: &mut Option<String>, id: &str, why: String) {
        if last_reason.as_ref() != Some(&why) {
            self.worker.options.events.emit(Event::Waiting {
                key: self.key.clone(),
                id: id.to_owned(),
                why: why.clone(),
            });
            *last_reason = Some(why);
        }
    }
}

enum Paused {
    Again,
    TimeIsUp,
    Stopped,
}
