//! Limits on the number of connections, and which connections end when a limit is reached.
//!
//! A [`Room`] limits the connections of one thread, and each port has a [`Share`] of it. A port gets another
//! connection only while it has fewer than four for each free place. So a flood on one port leaves places for the
//! other ports. When a port's share is full, its oldest connections without a complete request end in favour of new
//! ones, like idle connections in nginx and Envoy under overload.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::meter::{Meter, Phase};

/// The maximum number of connections of a port for each free place.
const PER_FREE_PLACE: usize = 4;
/// The interval between two attempts to find a place in a full share.
const RETRY: Duration = Duration::from_millis(50);

/// The places of one thread.
pub(super) struct Room {
    limit: usize,
    used: AtomicUsize,
    next: AtomicU64,
    /// The number of connections that have ended or released their buffers since the last read.
    released: AtomicUsize,
}

/// The places of one port.
pub(super) struct Share {
    room: Arc<Room>,
    /// By age, the oldest first.
    seats: Mutex<BTreeMap<u64, Arc<Meter>>>,
    freed: Notify,
}

/// An occupied place; dropping it frees the place.
pub(super) struct Seat {
    share: Arc<Share>,
    id: u64,
}

impl Room {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            used: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            released: AtomicUsize::new(0),
        })
    }

    pub(super) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            room: Arc::clone(self),
            seats: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Counts a connection that has released its buffers.
    pub(super) fn release(&self) {
        self.released.fetch_add(1, Relaxed);
    }

    /// The number of connections that have released their buffers since the last call.
    pub(super) fn take_released(&self) -> usize {
        self.released.swap(0, Relaxed)
    }
}

impl Share {
    /// Waits for a free place, and evicts old connections to get one.
    pub(super) async fn seat(self: &Arc<Self>, meter: &Arc<Meter>) -> Seat {
        loop {
            if let Some(seat) = self.try_seat(meter) {
                return seat;
            }
            self.evict();
            // The retry notices places that other ports have freed.
            let _ = timeout(RETRY, self.freed.notified()).await;
        }
    }

    fn try_seat(self: &Arc<Self>, meter: &Arc<Meter>) -> Option<Seat> {
        let mut seats = self.seats();
        let free = self.room.limit.saturating_sub(self.room.used.load(Relaxed));
        if seats.len() >= free.saturating_mul(PER_FREE_PLACE) {
            return None;
        }
        self.room.used.fetch_add(1, Relaxed);
        let id = self.room.next.fetch_add(1, Relaxed);
        seats.insert(id, Arc::clone(meter));
        Some(Seat {
            share: Arc::clone(self),
            id,
        })
    }

    /// Ends the oldest connections that wait for a request, starting with those that never had one.
    fn evict(&self) {
        let seats = self.seats();
        let batch = seats.len() / 64 + 1;
        let waiting = |served: bool| {
            seats.values().filter(move |meter| {
                meter.phase() == Phase::Request
                    && meter.has_served() == served
                    && !meter.is_evicted()
            })
        };
        for meter in waiting(false).chain(waiting(true)).take(batch) {
            meter.evict();
        }
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Meter>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.share.seats().remove(&self.id);
        self.share.room.used.fetch_sub(1, Relaxed);
        self.share.room.release();
        self.share.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooded_port_leaves_places_to_others() {
        let room = Room::new(100);
        let (flooded, quiet) = (room.share(), room.share());
        let take = |share: &Arc<Share>| {
            std::iter::from_fn(|| share.try_seat(&Arc::default())).collect::<Vec<_>>()
        };
        let first = take(&flooded);
        assert_eq!(first.len(), 80);
        let second = take(&quiet);
        assert_eq!(second.len(), 16);
        drop(first);
        assert_eq!(take(&quiet).len(), 64);
        drop(second);
    }

    #[test]
    fn the_oldest_without_a_request_make_way() {
        let room = Room::new(10);
        let share = room.share();
        let meters: Vec<Arc<Meter>> = (0..8).map(|_| Arc::default()).collect();
        let _seats: Vec<_> = meters
            .iter()
            .map(|meter| share.try_seat(meter).unwrap())
            .collect();
        assert!(share.try_seat(&Arc::default()).is_none());
        meters[0].begin(&hyper::body::SizeHint::with_exact(0));
        meters[1].begin(&hyper::body::SizeHint::with_exact(0));
        meters[1].set_phase(Phase::Request);
        for _ in 0..7 {
            share.evict();
        }
        let evicted: Vec<_> = meters.iter().map(|meter| meter.is_evicted()).collect();
        assert_eq!(evicted, [false, true, true, true, true, true, true, true]);
    }
}
