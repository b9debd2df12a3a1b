//! The state shared by all tasks of one node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::room::Room;
use super::table::SharedTable;
use super::upstream::Pool;

/// The state shared by all tasks of one node.
pub(super) struct Worker {
    pub(super) shared: Arc<SharedTable>,
    pub(super) pool: Pool,
    /// Client connections and tunnels.
    pub(super) tasks: TaskTracker,
    /// Finish the requests in flight and accept nothing new.
    pub(super) stop: CancellationToken,
    /// Drop the requests in flight.
    pub(super) abort: CancellationToken,
    pub(super) room: Arc<Room>,
    state: AtomicU8,
}

impl Worker {
    pub(super) fn new(shared: Arc<SharedTable>, pool: Pool) -> Self {
        Self {
            room: Room::new(shared.attributes.max_connections),
            shared,
            pool,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            state: AtomicU8::new(0),
        }
    }

    /// Changes whenever [`Worker::stop`] or [`Worker::abort`] is cancelled.
    pub(super) fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    /// Cancels [`Worker::stop`].
    pub(super) fn end_accepting(&self) {
        self.end(&self.stop);
    }

    /// Cancels [`Worker::abort`].
    pub(super) fn end_requests(&self) {
        self.end(&self.abort);
    }

    fn end(&self, token: &CancellationToken) {
        self.state.fetch_add(1, Ordering::Relaxed);
        token.cancel();
    }
}
