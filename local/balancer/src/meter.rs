//! The state of one connection, shared between its stream and the tasks that watch it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::Waker;

use futures::task::AtomicWaker;
use hyper::body::SizeHint;

use super::fault::Fault;

/// How many bytes a target may send before its final response: interim responses (1xx) and one head.
pub(super) const MAX_BEFORE_RESPONSE: u64 = 128 * 1024;
/// How many of those bytes are read before other tasks have their turn. The parser goes through all interim responses
/// that it gets, and reads on; the runtime's own budget counts reads and not what they cost.
pub(super) const TURN: u64 = 16 * 1024;

/// What a connection is doing, shared between its stream and whoever watches it.
///
/// All users live on one thread; the atomics are there because tasks have to be `Send`.
#[derive(Default)]
pub(super) struct Meter {
    progress: AtomicBool,
    phase: AtomicU8,
    /// Somebody wants more of the request's body, and the client has not sent it.
    wants_body: AtomicBool,
    /// The request's body ended early or was malformed.
    body_failed: AtomicBool,
    /// Bytes were written and not flushed yet.
    unflushed: AtomicBool,
    /// The protocol has changed: bytes have no framing any more.
    tunnel: AtomicBool,
    /// The fault that the stand-in for the next request stands for.
    fault: AtomicU8,
    /// The length of the body of the request that was parsed last; see [`BodyLength`].
    body_length: AtomicU64,
    /// Bytes that came from a target before the head of its final response was whole.
    received: AtomicU64,
    /// A target's final response has not begun.
    awaits_response: AtomicBool,
    /// How many bytes have come since other tasks had their turn.
    turn: AtomicU64,
    /// Bytes have been written since this was asked last.
    wrote: AtomicBool,
    /// The client has sent a whole request.
    served: AtomicBool,
    /// Newer connections need the room of this one.
    evicted: AtomicBool,
    /// Wakes the task of the connection when it is evicted.
    waker: AtomicWaker,
}

/// What a client connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The client's next request.
    Request = 0,
    /// The answer's head.
    Answer = 1,
    /// The rest of the answer, on its way to the client.
    Body = 2,
}

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// After this many bytes.
    Sized(u64),
    /// By its last chunk.
    Chunked,
}

/// How [`Meter::body_length`] says that it is not known; lengths are stored with 2 added.
const UNKNOWN: u64 = 0;
const CHUNKED: u64 = 1;

impl Meter {
    /// Bytes went one way or the other.
    pub(super) fn moved(&self) {
        self.progress.store(true, Relaxed);
    }

    /// Whether bytes went either way since the last call.
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

    /// A request was parsed, and its body has this size. Returns what is wrong with it.
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

    /// The length of the body of the request that was parsed last, until it is taken.
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

    /// How many bytes have come since the last call of [`Meter::await_response`].
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// A request goes out now, and its response is awaited.
    pub(super) fn await_response(&self) {
        self.received.store(0, Relaxed);
        self.turn.store(0, Relaxed);
        self.awaits_response.store(true, Relaxed);
    }

    /// The final response is here: no limit holds for what follows.
    pub(super) fn end_await(&self) {
        self.awaits_response.store(false, Relaxed);
    }

    /// Whether more came than may come before a final response.
    pub(super) fn is_over(&self) -> bool {
        self.received() > MAX_BEFORE_RESPONSE
    }

    /// Ends the connection as soon as its task runs.
    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whether a whole request has come, faulty or not.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    pub(super) fn set_waker(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// How many bytes of a target may be read now. `None` is no limit, because the response has begun; at 0, other
    /// tasks have their turn first, and then [`Meter::begin_turn`].
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

    /// Bytes came from a target.
    pub(super) fn receive(&self, bytes: u64) {
        self.moved();
        self.received.fetch_add(bytes, Relaxed);
        self.turn.fetch_add(bytes, Relaxed);
    }

    /// Bytes went to a target.
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
