//! What a step does with its resource: calls that are made again where that helps, and the waiting for their effect.

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

/// So many looks in a row do not find what an earlier one has seen: it is gone, and not only out of sight.
const GONE_AFTER: u32 = 3;

/// The kinds of errors that are no reason to give up at once, whatever the verb.
const PASSING: &[ErrorKind] = &[ErrorKind::Throttled, ErrorKind::Unavailable];

/// With what was made a moment ago, and may not be seen everywhere yet.
const PASSING_WHILE_NEW: &[ErrorKind] = &[
    ErrorKind::Throttled,
    ErrorKind::Unavailable,
    ErrorKind::NotFound,
];

/// One step under way.
pub(super) struct Job<'a, P: ?Sized> {
    worker: &'a Worker<'a, P>,
    key: &'a Key,
    kind: &'a dyn AnyKind<P>,
    metadata: &'a KindMetadata,
    /// When its first call was made.
    began: Option<Instant>,
    /// Whether this run makes it, and so knows since when it is being made.
    is_new: bool,
    /// Whether it is to end.
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
            ends: false,
        }
    }

    pub(super) async fn create(&mut self, desired: &Value) -> Result<String> {
        let (desired, passing) = self.resolved(desired)?;
        self.is_new = true;
        let Worker {
            provider, stack, ..
        } = *self.worker;
        let (kind, key) = (self.kind, self.key);
        let made = self
            .persist(passing, || kind.create(provider, stack, key, &desired))
            .await;
        made.map_err(|error| match error.kind() {
            // Whether the call had its effect, only the next listing can say.
            ErrorKind::Unavailable | ErrorKind::Timeout => error.left(Left::Unknown),
            ErrorKind::AlreadyExists => error.or_hint(
                "what has its name or address is not known as this stack's: if it is, give it its tags back \
                 (landfall:stack, landfall:name); if not, rename it or delete it",
            ),
            _ => error,
        })
    }

    pub(super) async fn update(&mut self, live: &Found, desired: &Value) -> Result<()> {
        let (desired, passing) = self.resolved(desired)?;
        let (kind, provider) = (self.kind, self.worker.provider);
        let updated = self
            .persist(passing, || kind.update(provider, live, &desired))
            .await;
        updated.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.or_hint(
                "it, or what it refers to, was there when the plan was made, and somebody has deleted it since: \
                 run again, and it is made anew",
            ),
            _ => error,
        })
    }

    /// Waits until the resource can be used.
    pub(super) async fn usable(&mut self, id: &str) -> Result<End> {
        let mut seen = false;
        let mut missed = 0;
        let output = self
            .until(id, |probe| {
                if probe != Probe::Absent {
                    (seen, missed) = (true, 0);
                }
                match probe {
                    Probe::Usable(output) => Ok(Ok(output)),
                    Probe::Failed(why) => Err(Error::new(ErrorKind::Other, why)),
                    Probe::Ending(why) => Err(Error::new(
                        ErrorKind::Other,
                        format_args!("somebody is deleting it: {why}"),
                    )),
                    Probe::Absent if seen => {
                        missed += 1;
                        match missed < GONE_AFTER {
                            true => Ok(Err("out of sight".to_owned())),
                            false => Err(Error::new(
                                ErrorKind::NotFound,
                                "it was there and is gone: somebody has deleted it",
                            )
                            .hint("run again, and it is made anew")),
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

    /// Deletes, and waits until it is gone. Being refused because others still use it is waited out.
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
                Err(error) => return Err(error),
            };
            self.tell(&mut last_reason, &live.id, refused.to_string());
            match self.pause(&mut pause).await {
                Paused::Again => {}
                Paused::TimeIsUp => return Err(refused.tried(asked, self.elapsed())),
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

    /// The spec with every id in its place, and the errors that pass with such a spec: where it refers to what
    /// this run has made, a cloud may need a moment until it finds that.
    fn resolved(&self, desired: &Value) -> Result<(Value, &'static [ErrorKind])> {
        let spec_mismatch =
            |error| Error::new(ErrorKind::Invalid, "a spec does not fit its kind").caused_by(error);
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
                    format_args!("the plan does not put {key} before it"),
                ));
            }
        }
        Ok((resolved, passing))
    }

    /// Looks again and again until `look` finds what is waited for; `None` when the run was stopped
    /// first. What is there instead, `look` gives in words.
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
            self.tell(&mut last_reason, id, why.clone());
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

    /// Calls, and calls again for a while when the error is one of those that pass; when there are too many
    /// calls, until the deadline.
    ///
    /// Every verb may be called again: [`Provider`](crate::Provider) says so. A call that was one too many keeps
    /// its place among those under way, so that the others slow down with it.
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
            gave_up = gave_up || !matches!(self.pause(&mut next).await, Paused::Again);
            if gave_up {
                return Err(error.tried(tried, since.elapsed()));
            }
            pause = poll_interval.next(pause);
        }
    }

    /// Between half of a pause and all of it, so that those who were refused together do not come again together.
    fn scattered(&self, pause: Duration, tried: u32) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.key.kind.as_str(), self.key.name.as_str(), tried).hash(&mut hasher);
        let part = f64::from(hasher.finish() as u8) / 255.0;
        pause.mul_f64(0.5 + part / 2.0)
    }

    /// A place among the calls that are under way at once.
    async fn place(&self) -> Option<SemaphorePermit<'a>> {
        // It is never closed; without a permit the call would be one too many, no more.
        self.worker.calls.acquire().await.ok()
    }

    /// One call. It is given up at the deadline, but even the last one has a while to answer.
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

    /// Waits until the next look is due.
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

    /// Says what is being waited for, each time that it is something else.
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
