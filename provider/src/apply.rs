//! The engine: applies a plan, with as much parallelism as the graph allows.

mod board;
mod job;
mod worker;

use std::collections::BTreeMap;
use std::sync::Mutex;

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
use crate::poll_interval::PollInterval;
use crate::resource::Gate;

/// Options for [`apply()`].
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// The maximum number of concurrent calls; waiting does not count.
    pub concurrency: usize,
    /// The interval between probes.
    pub poll_interval: PollInterval,
    /// Receives the events of the run.
    pub events: Events,
    /// Once cancelled, no new step is started. Calls in flight are finished; their effect is no
    /// longer waited for.
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

/// A resource that matches the plan and is ready.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyResource {
    /// Its id.
    pub id: String,
    /// Its output, known once it is usable.
    pub output: Value,
}

/// The result of applying a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Usable resources, created or kept.
    pub ready: BTreeMap<Key, ReadyResource>,
    /// Deleted resources.
    pub deleted: Vec<Key>,
    /// Failed resources.
    pub failed: Vec<(Key, Error)>,
    /// Resources whose creation or deletion was started and is no longer waited for, because the
    /// run was stopped. The provider continues, and the next run waits for them.
    pub on_its_way: Vec<Key>,
    /// Steps that were not started, because a step before them failed or the run was stopped.
    pub not_started: Vec<Key>,
}

impl Applied {
    /// Whether every step of the plan was completed.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.on_its_way.is_empty() && self.not_started.is_empty()
    }
}

/// Applies the plan.
///
/// A failed step blocks only the steps that depend on it; all others continue, so that a second run
/// has less to do and a destroy leaves as little as possible.
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
                    // Handle the events that a step sent before its result.
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
