//! The routing table that a node reads for every request; immutable and replaced as a whole.
//!
//! Requests never wait for a lock: each client connection keeps the table that it read last, and compares a version
//! number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::config::{Attributes, Rule};
use super::rules;

/// A registered target as the nodes see it.
pub(super) struct Destination {
    /// Distinct for every registration, even of the same id.
    pub(super) serial: u64,
    pub(super) addr: SocketAddr,
    in_flight: AtomicUsize,
    closed: AtomicBool,
    drained: Notify,
    reached: AtomicBool,
}

impl Destination {
    pub(super) fn new(serial: u64, addr: SocketAddr) -> Self {
        Self {
            serial,
            addr,
            in_flight: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            drained: Notify::new(),
            reached: AtomicBool::new(false),
        }
    }

    /// Whether it has ever accepted a connection.
    pub(super) fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Records that it has accepted a connection.
    pub(super) fn reach(&self) {
        if !self.was_reached() {
            self.reached.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it rejects new requests.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Rejects new requests from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Returns when it has no request in flight. For one waiter, after [`Self::close`].
    pub(super) async fn drained(&self) {
        while self.in_flight.load(Ordering::SeqCst) != 0 {
            self.drained.notified().await;
        }
    }
}

/// A request that a target is serving; counts until dropped.
pub(super) struct InFlight(Arc<Destination>);

impl InFlight {
    /// Counts a request, unless the target is closed.
    ///
    /// The count goes up before the flag is read, and [`Destination::close`] sets the flag before
    /// [`Destination::drained`] reads the count. So a drain sees every request.
    pub(super) fn enter(target: &Arc<Destination>) -> Option<Self> {
        target.in_flight.fetch_add(1, Ordering::SeqCst);
        let entered = Self(Arc::clone(target));
        (!target.is_closed()).then_some(entered)
    }

    pub(super) fn target(&self) -> &Arc<Destination> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_closed() {
            self.0.drained.notify_one();
        }
    }
}

/// A target group as the nodes see it.
pub(super) struct Group {
    pub(super) name: String,
    /// The targets that get requests now: the healthy ones, or all if none is healthy.
    pub(super) routable: Vec<Arc<Destination>>,
    /// Shared by all nodes and kept across tables, so requests alternate exactly.
    pub(super) turn: Arc<AtomicUsize>,
    /// The number of received requests, shared and kept like `turn`.
    pub(super) requests: Arc<AtomicU64>,
}

impl Group {
    /// Counts a request to one of its targets.
    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The target whose turn it is.
    pub(super) fn next(&self) -> Option<&Arc<Destination>> {
        if self.routable.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.routable.get(turn % self.routable.len())
    }
}

/// The rules of one listener, in order of priority.
pub(super) struct Listener {
    pub(super) rules: Vec<(Rule, Arc<Group>)>,
    pub(super) default: Arc<Group>,
}

impl Listener {
    /// The target group for a request with this host (as sent, with or without a port) and path.
    pub(super) fn route(&self, host: &str, path: &str) -> &Arc<Group> {
        if self.rules.is_empty() {
            return &self.default;
        }
        let host = rules::host_name(host);
        self.rules
            .iter()
            .find(|(rule, _)| rules::applies(rule, host, path))
            .map_or(&self.default, |(_, group)| group)
    }
}

/// The data that a node needs for routing.
#[derive(Default)]
pub(super) struct Table {
    pub(super) listeners: BTreeMap<u16, Arc<Listener>>,
    pub(super) groups: BTreeMap<String, Arc<Group>>,
    /// The serials of all targets that may still get requests; pools close connections to all others.
    pub(super) open: BTreeSet<u64>,
}

/// The state shared by all nodes of a balancer.
pub(super) struct SharedTable {
    pub(super) attributes: Attributes,
    version: AtomicU64,
    table: RwLock<Arc<Table>>,
    /// Wakes the nodes' housekeeping after a new table.
    pub(super) changed: tokio::sync::watch::Sender<u64>,
}

impl SharedTable {
    pub(super) fn new(mut attributes: Attributes) -> Self {
        // Timers divide the timeout; AWS allows at least one second.
        attributes.idle_timeout = attributes.idle_timeout.max(Duration::from_millis(1));
        Self {
            attributes,
            version: AtomicU64::new(0),
            table: RwLock::default(),
            changed: tokio::sync::watch::Sender::new(0),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the table; every request that starts afterwards sees it.
    pub(super) fn publish(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.send_replace(version);
    }
}
