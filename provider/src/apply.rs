//! The engine: carries a plan out, everything at once that the graph allows.

mod board;
mod job;
mod worker;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use self::board::Board;
use self::worker::{End, Worker};
use crate::catalog::Catalog;
use crate::error::Error;
use crate::event::Events;
use crate::name::Key;
use crate::plan::Plan;
use crate::resource::Gate;

/// How to carry a plan out.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Calls under way at once, at the most; waiting does not count.
    pub concurrency: usize,
    /// How often to look.
    pub poll_interval: PollInterval,
    /// Who is told.
    pub events: Events,
    /// Once cancelled, nothing new is started. Calls that are under way are finished; what they have
    /// begun is no longer waited for.
    pub stop: CancellationToken,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            concurrency: 16,
            poll_interval: PollInterval::default(),
            events: Events::nowhere(),
            stop: CancellationToken::new(),
        }
    }
}

/// How often a resource is looked at while it is waited for: soon at first, then less and less often; and often
/// again once it is due, where its kind says how long it [usually takes](crate::Resource::TYPICAL_CREATE_TIME).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollInterval {
    /// Until the first look.
    pub first: Duration,
    /// Between looks, in the end.
    pub longest: Duration,
}

impl Default for PollInterval {
    /// For a cloud that takes seconds and throttles: from half a second to 10 s.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(10),
        }
    }
}

impl PollInterval {
    /// For a provider on the same machine: from 5 ms to 250 ms.
    pub const LOCAL: Self = Self {
        first: Duration::from_millis(5),
        longest: Duration::from_millis(250),
    };

    pub(crate) fn next(self, last: Duration) -> Duration {
        (last * 3 / 2).min(self.longest)
    }

    /// The pause before the next look at what usually takes so long and was begun so long ago: the looks fall
    /// close together once it is due, a fiftieth of the usual time apart, until it has taken twice as long.
    fn around(self, typical_create_time: Duration, waited: Duration, pause: Duration) -> Duration {
        if waited < typical_create_time {
            pause.min(typical_create_time - waited)
        } else if waited < typical_create_time * 2 {
            (typical_create_time / 50).max(self.first).min(self.longest)
        } else {
            pause
        }
    }

    /// For how long calls may go unanswered or be too many before that is a failure: a minute for a
    /// cloud, little more than a second for this machine, where silence has another meaning.
    pub(crate) fn time_limit(self) -> Duration {
        self.longest * 6
    }
}

/// A resource that is as the plan wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyResource {
    /// Its id.
    pub id: String,
    /// What is known of it now that it is usable.
    pub output: Value,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// What is usable now, made or kept.
    pub ready: BTreeMap<Key, ReadyResource>,
    /// What is gone now.
    pub deleted: Vec<Key>,
    /// What failed.
    pub failed: Vec<(Key, Error)>,
    /// What was begun and no longer waited for, because the run was stopped: it goes on by itself, and
    /// the next run waits for it.
    pub on_its_way: Vec<Key>,
    /// What was not started, because something before it failed or the run was stopped.
    pub not_started: Vec<Key>,
}

impl Applied {
    /// Whether everything that the plan says was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.on_its_way.is_empty() && self.not_started.is_empty()
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
                        Ok(End::Usable(ready)) => {
                            board.reached(index, Gate::Usable);
                            applied.ready.insert(key, ready);
                        }
                        Ok(End::Gone(_)) => {
                            board.reached(index, Gate::Usable);
                            applied.deleted.push(key);
                        }
                        Ok(End::OnItsWay(_)) => applied.on_its_way.push(key),
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
