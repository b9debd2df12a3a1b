//! The state of one connection, shared between its stream and the tasks that watch it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::Waker;

use futures::task::AtomicWaker;
use hyper::body::SizeHint;

use super::fault::Fault;

/// The limit on the bytes that a target sends before its final response: interim responses (1xx) and one head.
pub(super) const MAX_BEFORE_RESPONSE: u64 = 128 * 1024;
/// The number of those bytes that are read before other tasks run. The parser handles all interim responses that it
/// gets, and reads on; the runtime's own budget counts reads, not their cost.
pub(super) const TURN: u64 = 16 * 1024;

/// The state of a connection, shared between its stream and the tasks that watch it.
///
/// All users are on one thread; the fields are atomic because tasks must be `Send`.
#[derive(Default)]
pub(super) struct Meter {
    progress: AtomicBool,
    phase: AtomicU8,
    /// More of the request's body is wanted, and the client has not sent it.
    wants_body: AtomicBool,
    /// The request's body ended early or was malformed.
    body_failed: AtomicBool,
    /// Bytes were written and not flushed yet.
    unflushed: AtomicBool,
    /// The protocol has changed: the bytes have no framing.
    tunnel: AtomicBool,
    /// The fault behind the stand-in for the next request.
    fault: AtomicU8,
    /// The length of the body of the last parsed request; see [`BodyLength`].
    body_length: AtomicU64,
    /// Bytes from a target before the head of its final response was complete.
    received: AtomicU64,
    /// A target's final response has not begun.
    awaits_response: AtomicBool,
    /// The number of bytes received since other tasks had their turn.
    turn: AtomicU64,
    /// Bytes have been written since the last call of [`Meter::take_wrote`].
    wrote: AtomicBool,
    /// The client has sent a whole request.
    served: AtomicBool,
    /// Newer connections need the place of this one.
    evicted: AtomicBool,
    /// Wakes the task of the connection when it is evicted.
    waker: AtomicWaker,
}

/// The event that a client connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The client's next request.
    Request = 0,
    /// The head of the response.
    Answer = 1,
    /// The rest of the response, on its way to the client.
    Body = 2,
}

/// The end of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// After this many bytes.
    Sized(u64),
    /// After its last chunk.
    Chunked,
}

/// [`Meter::body_length`] is unknown. Lengths are stored with 2 added.
const UNKNOWN: u64 = 0;
const CHUNKED: u64 = 1;

impl Meter {
    /// Records that bytes went in either direction.
    pub(super) fn moved(&self) {
        self.progress.store(true, Relaxed);
    }

    /// Whether bytes went in either direction since the last call.
    pub(super) fn take_progress(&self) -> bool {
        self.progress.load(Relaxed) && self.progress.swap(false, Relaxed)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Request,
            1 => Phase::Answer,
            _ => Phase::Body,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    /// Records a parsed request with this body size. Returns the fault of the request.
    pub(super) fn begin(&self, size: &SizeHint) -> Option<Fault> {
        self.set_phase(Phase::Answer);
        self.served.store(true, Relaxed);
        let length = size
            .exact()
            .map_or(CHUNKED, |length| length.saturating_add(2));
        self.body_length.store(length, Relaxed);
        match self.fault.load(Relaxed) {
            0 => None,
            number => Fault::of(number),
        }
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.fault.store(fault as u8, Relaxed);
    }

    /// The length of the body of the last parsed request, until it is taken.
    pub(super) fn body_length(&self) -> Option<BodyLength> {
        match self.body_length.load(Relaxed) {
            UNKNOWN => None,
            CHUNKED => Some(BodyLength::Chunked),
            length => Some(BodyLength::Sized(length - 2)),
        }
    }

    pub(super) fn take_body_length(&self) -> Option<BodyLength> {
        let length = self.body_length();
        self.body_length.store(UNKNOWN, Relaxed);
        length
    }

    pub(super) fn set_wants_body(&self, wants: bool) {
        self.wants_body.store(wants, Relaxed);
    }

    pub(super) fn wants_body(&self) -> bool {
        self.wants_body.load(Relaxed)
    }

    pub(super) fn set_body_failed(&self) {
        self.body_failed.store(true, Relaxed);
    }

    pub(super) fn body_failed(&self) -> bool {
        self.body_failed.load(Relaxed)
    }

    pub(super) fn set_unflushed(&self, unflushed: bool) {
        self.unflushed.store(unflushed, Relaxed);
    }

    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed.load(Relaxed)
    }

    pub(super) fn set_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel.load(Relaxed)
    }

    /// The number of bytes received since the last call of [`Meter::await_response`].
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Records that a request is sent, and its response awaited.
    pub(super) fn await_response(&self) {
        self.received.store(0, Relaxed);
        self.turn.store(0, Relaxed);
        self.awaits_response.store(true, Relaxed);
    }

    /// Records the final response; the following bytes have no limit.
    pub(super) fn end_await(&self) {
        self.awaits_response.store(false, Relaxed);
    }

    /// Whether the target sent more than is allowed before a final response.
    pub(super) fn is_over(&self) -> bool {
        self.received() > MAX_BEFORE_RESPONSE
    }

    /// Ends the connection at the next run of its task.
    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whether a complete request has arrived, faulty or not.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    pub(super) fn set_waker(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// The number of bytes that may be read from a target now. `None` means no limit, because the response has begun.
    /// At 0, other tasks run first, and then [`Meter::begin_turn`] is called.
    pub(super) fn read_limit(&self) -> Option<u64> {
        if !self.awaits_response.load(Relaxed) {
            return None;
        }
        Some(match self.is_over() {
            true => 0,
            false => TURN.saturating_sub(self.turn.load(Relaxed)),
        })
    }

    pub(super) fn begin_turn(&self) {
        self.turn.store(0, Relaxed);
    }

    /// Records bytes from a target.
    pub(super) fn receive(&self, bytes: u64) {
        self.moved();
        self.received.fetch_add(bytes, Relaxed);
        self.turn.fetch_add(bytes, Relaxed);
    }

    /// Records bytes to a target.
    pub(super) fn write(&self) {
        self.moved();
        self.wrote.store(true, Relaxed);
    }

    /// Whether bytes were written since the last call.
    pub(super) fn take_wrote(&self) -> bool {
        self.wrote.swap(false, Relaxed)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}
