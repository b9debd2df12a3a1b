//! The engine: carries a plan out, everything at once that the graph allows.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::catalog::{AnyKind, Catalog};
use crate::error::{Error, ErrorKind, Left, Result};
use crate::event::{Event, Events, Verb, millis};
use crate::name::{Key, StackName};
use crate::plan::{Action, Plan, Step};
use crate::provider::Probe;
use crate::resource::Gate;
use crate::snapshot::Found;

/// How to carry a plan out.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Calls under way at once, at the most; waiting does not count.
    pub concurrency: usize,
    /// How often to look.
    pub pace: Pace,
    /// Who is told.
    pub events: Events,
    /// Once cancelled, nothing new is started; what is under way is finished.
    pub stop: CancellationToken,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            pace: Pace::default(),
            events: Events::nowhere(),
            stop: CancellationToken::new(),
        }
    }
}

/// How often a resource is looked at while it is waited for: soon at first, then less and less often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Until the first look.
    pub first: Duration,
    /// Between looks, in the end.
    pub longest: Duration,
}

impl Default for Pace {
    /// For a cloud that takes seconds and throttles: from 1 s to 10 s.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(10),
        }
    }
}

impl Pace {
    /// For a provider on the same machine: from 5 ms to 250 ms.
    pub const NEARBY: Self = Self {
        first: Duration::from_millis(5),
        longest: Duration::from_millis(250),
    };

    fn next(self, last: Duration) -> Duration {
        (last * 3 / 2).min(self.longest)
    }
}

/// A resource that is as the plan wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Its id.
    pub id: String,
    /// What is known of it now that it is usable.
    pub output: Value,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// What is usable now, made or kept.
    pub settled: BTreeMap<Key, Settled>,
    /// What is gone now.
    pub deleted: Vec<Key>,
    /// What failed.
    pub failed: Vec<(Key, Error)>,
    /// What was not started, because something before it failed or the run was stopped.
    pub not_started: Vec<Key>,
}

impl Applied {
    /// Whether everything that the plan says was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.not_started.is_empty()
    }
}

/// Carries the plan out.
///
/// A failed step keeps back only what needs it; the rest goes on, so that a second run has less to do
/// and a destroy leaves as little as it can.
pub async fn apply<P>(
    plan: &Plan,
    provider: &P,
    catalog: &Catalog<P>,
    options: &ApplyOptions,
) -> Applied
where
    P: ?Sized + Send + Sync,
{
    let (exists_tx, mut exists_rx) = mpsc::unbounded_channel();
    let worker = Worker {
        stack: &plan.stack,
        provider,
        catalog,
        options,
        calls: Semaphore::new(options.concurrency.max(1)),
        ids: Mutex::default(),
        exists: exists_tx,
    };
    let mut board = Board::new(&plan.steps);
    let mut applied = Applied::default();
    let mut running = FuturesUnordered::new();
    loop {
        if !options.stop.is_cancelled() {
            for index in board.take_ready() {
                running.push(worker.run(index, &plan.steps[index]));
            }
        }
        tokio::select! {
            biased;
            Some(index) = exists_rx.recv() => board.reached(index, Gate::Exists),
            next = running.next() => match next {
                None => break,
                Some((index, outcome)) => {
                    // What it said on the way comes before how it ended.
                    while let Ok(index) = exists_rx.try_recv() {
                        board.reached(index, Gate::Exists);
                    }
                    let key = plan.steps[index].key.clone();
                    match outcome {
                        Ok(End::Usable(settled)) => {
                            board.reached(index, Gate::Usable);
                            applied.settled.insert(key, settled);
                        }
                        Ok(End::Gone) => {
                            board.reached(index, Gate::Usable);
                            applied.deleted.push(key);
                        }
                        Err(error) => applied.failed.push((key, error)),
                    }
                }
            },
        }
    }
    applied.not_started = board
        .never_started()
        .map(|index| plan.steps[index].key.clone())
        .collect();
    applied
}

enum End {
    Usable(Settled),
    Gone,
}

/// Which steps wait for what.
struct Board {
    /// How many edges each step still waits for; `None` once it was started.
    waits: Vec<Option<usize>>,
    /// Whom a step frees when it reaches a gate.
    frees: Vec<Vec<(Gate, usize)>>,
    /// The furthest gate that each step has reached.
    at: Vec<Option<Gate>>,
    ready: Vec<usize>,
}

impl Board {
    fn new(steps: &[Step]) -> Self {
        let mut frees = vec![Vec::new(); steps.len()];
        for (index, step) in steps.iter().enumerate() {
            for after in &step.after {
                frees[after.step].push((after.gate, index));
            }
        }
        let waits: Vec<_> = steps.iter().map(|step| Some(step.after.len())).collect();
        let ready = (0..steps.len())
            .filter(|&index| waits[index] == Some(0))
            .collect();
        Self {
            waits,
            frees,
            at: vec![None; steps.len()],
            ready,
        }
    }

    fn take_ready(&mut self) -> Vec<usize> {
        let ready = std::mem::take(&mut self.ready);
        for &index in &ready {
            self.waits[index] = None;
        }
        ready
    }

    fn reached(&mut self, index: usize, gate: Gate) {
        let before = self.at[index].replace(gate);
        for &(needed, next) in &self.frees[index] {
            if needed <= gate
                && before.is_none_or(|before| before < needed)
                && let Some(waits) = &mut self.waits[next]
            {
                *waits -= 1;
                if *waits == 0 {
                    self.ready.push(next);
                }
            }
        }
    }

    fn never_started(&self) -> impl Iterator<Item = usize> {
        self.waits
            .iter()
            .enumerate()
            .filter(|(_, waits)| waits.is_some())
            .map(|(index, _)| index)
    }
}

/// What every step needs to be carried out.
struct Worker<'a, P: ?Sized> {
    stack: &'a StackName,
    provider: &'a P,
    catalog: &'a Catalog<P>,
    options: &'a ApplyOptions,
    calls: Semaphore,
    /// The ids that are known by now.
    ids: Mutex<BTreeMap<Key, String>>,
    /// Tells the loop that a step's resource has its id.
    exists: mpsc::UnboundedSender<usize>,
}

impl<P: ?Sized + Send + Sync> Worker<'_, P> {
    async fn run(&self, index: usize, step: &Step) -> (usize, Result<End>) {
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
        let outcome = self.carry_out(index, step, started).await;
        match &outcome {
            Ok(_) if silent => {}
            Ok((id, _)) => emit(Event::Done {
                key: step.key.clone(),
                verb,
                id: id.clone(),
                took_ms: millis(started.elapsed()),
            }),
            Err(error) => emit(Event::Failed {
                key: step.key.clone(),
                verb,
                error: error.to_string(),
            }),
        }
        let outcome = outcome
            .map(|(_, end)| end)
            .map_err(|error| error.doing(&verb.to_string(), &step.key));
        (index, outcome)
    }

    async fn carry_out(
        &self,
        index: usize,
        step: &Step,
        started: Instant,
    ) -> Result<(String, End)> {
        let kind = self.catalog.kind(&step.key.kind)?;
        let facts = self.catalog.schema().get(&step.key.kind);
        let deadline = started + facts.map_or(Duration::from_secs(300), |facts| facts.deadline);
        let resolved = |want: &Value| -> Result<Value> {
            let facts = facts.ok_or_else(|| Error::new(ErrorKind::Invalid, "unknown kind"))?;
            facts
                .resolve(want, &|key| self.ids().get(key).cloned())
                .map_err(|error| {
                    Error::new(ErrorKind::Invalid, "a spec does not fit its kind").caused_by(error)
                })
        };
        let id = match &step.action {
            Action::Keep { live } => {
                // The listing that the plan was made from has said all that there is to know.
                if let Probe::Usable(output) = &live.state {
                    self.exists(index, step, &live.id);
                    return Ok((live.id.clone(), usable(&live.id, output.clone())));
                }
                live.id.clone()
            }
            Action::Create { want, .. } => {
                let want = resolved(want)?;
                let _call = self.calls.acquire().await;
                kind.create(self.provider, self.stack, &step.key, &want)
                    .await?
            }
            Action::Update { live, want, .. } => {
                let want = resolved(want)?;
                let _call = self.calls.acquire().await;
                kind.update(self.provider, live, &want).await?;
                live.id.clone()
            }
            Action::Delete { live, .. } => {
                self.delete(kind, live, deadline).await?;
                return Ok((live.id.clone(), End::Gone));
            }
        };
        self.exists(index, step, &id);
        let output = self
            .until(kind, &step.key, &id, deadline, |probe| match probe {
                Probe::Usable(output) => Some(Ok(output)),
                Probe::Failed(why) => Some(Err(Error::new(ErrorKind::Other, why))),
                Probe::Absent | Probe::Pending(_) => None,
            })
            .await
            .map_err(|error| error.left(Left::Resource(id.clone())))?;
        let end = usable(&id, output);
        Ok((id, end))
    }

    fn exists(&self, index: usize, step: &Step, id: &str) {
        self.ids().insert(step.key.clone(), id.to_owned());
        // The loop listens as long as any step runs.
        let _ = self.exists.send(index);
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes, and waits until it is gone. Being refused because others still use it is waited out.
    async fn delete(&self, kind: &dyn AnyKind<P>, live: &Found, deadline: Instant) -> Result<()> {
        let left = |error: Error| error.left(Left::Resource(live.id.clone()));
        let mut pause = self.options.pace.first;
        loop {
            let refused = {
                let _call = self.calls.acquire().await;
                match kind.delete(self.provider, live).await {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                    Err(error) => error,
                }
            };
            if !refused.kind().is_transient() || Instant::now() + pause > deadline {
                return Err(left(refused));
            }
            self.waiting(&live.key, &live.id, refused.to_string());
            tokio::time::sleep(pause).await;
            pause = self.options.pace.next(pause);
        }
        self.until(kind, &live.key, &live.id, deadline, |probe| match probe {
            Probe::Absent => Some(Ok(())),
            Probe::Failed(why) => Some(Err(Error::new(ErrorKind::Other, why))),
            Probe::Pending(_) | Probe::Usable(_) => None,
        })
        .await
        .map_err(left)
    }

    /// Looks again and again until `done` has an answer or time is up.
    async fn until<T>(
        &self,
        kind: &dyn AnyKind<P>,
        key: &Key,
        id: &str,
        deadline: Instant,
        done: impl Fn(Probe<Value>) -> Option<Result<T>>,
    ) -> Result<T> {
        let mut pause = self.options.pace.first;
        let mut told = None;
        loop {
            let probed = {
                let _call = self.calls.acquire().await;
                kind.probe(self.provider, id).await
            };
            let why = match probed {
                Ok(probe) => {
                    let why = match &probe {
                        Probe::Absent => "not visible".to_owned(),
                        Probe::Pending(why) => why.clone(),
                        Probe::Usable(_) => "still there".to_owned(),
                        Probe::Failed(why) => why.clone(),
                    };
                    if let Some(outcome) = done(probe) {
                        return outcome;
                    }
                    why
                }
                Err(error) if error.kind().is_transient() => error.to_string(),
                Err(error) => return Err(error),
            };
            if Instant::now() + pause > deadline {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format_args!("not done in time; last seen: {why}"),
                ));
            }
            if told.as_ref() != Some(&why) {
                self.waiting(key, id, why.clone());
                told = Some(why);
            }
            tokio::time::sleep(pause).await;
            pause = self.options.pace.next(pause);
        }
    }

    fn waiting(&self, key: &Key, id: &str, why: String) {
        self.options.events.emit(Event::Waiting {
            key: key.clone(),
            id: id.to_owned(),
            why,
        });
    }
}

fn usable(id: &str, output: Value) -> End {
    End::Usable(Settled {
        id: id.to_owned(),
        output,
    })
}
