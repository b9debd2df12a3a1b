//! What a connection is doing, and the stream to a target that reports it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};

use futures::task::AtomicWaker;
use hyper::body::SizeHint;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::fault::Fault;

/// How many bytes a target may send before its final response: interim responses (1xx) and one head.
const MAX_BEFORE_RESPONSE: u64 = 128 * 1024;
/// How many of those bytes are read before other tasks have their turn. The parser goes through all interim responses
/// that it gets, and reads on; the runtime's own budget counts reads and not what they cost.
const TURN: u64 = 16 * 1024;

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

    /// Whether bytes were written since the last call.
    pub(super) fn take_wrote(&self) -> bool {
        self.wrote.swap(false, Relaxed)
    }
}

/// The TCP stream to a target, with a [`Meter`].
///
/// A target may answer and close while the request is still being sent (RFC 9112 §9.5). A write that fails
/// therefore ends nothing: what is written from then on is dropped, and reading tells how it ended.
pub(super) struct Io {
    stream: TcpStream,
    meter: Arc<Meter>,
    write_failed: bool,
}

impl Io {
    pub(super) fn new(stream: TcpStream, meter: Arc<Meter>) -> Self {
        Self {
            stream,
            meter,
            write_failed: false,
        }
    }

    fn written(&mut self, result: io::Result<usize>, wanted: usize) -> io::Result<usize> {
        match result {
            Ok(n) => {
                self.meter.moved();
                self.meter.wrote.store(true, Relaxed);
                Ok(n)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    self.write_failed = true;
                    Ok(wanted)
                }
                _ => Err(error),
            },
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let meter = &this.meter;
        if meter.awaits_response.load(Relaxed) {
            let left = TURN.saturating_sub(meter.turn.load(Relaxed));
            if left == 0 || meter.is_over() {
                // Not an error: the final response may be among what was read. Whoever drives this looks.
                meter.turn.store(0, Relaxed);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(Pin::new(&mut (&mut this.stream).take(left)).poll_read(cx, buf))?;
        } else {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        }
        let new = (buf.filled().len() - before) as u64;
        if new != 0 {
            meter.moved();
            meter.received.fetch_add(new, Relaxed);
            meter.turn.fetch_add(new, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_failed {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.written(result, buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        if self.write_failed {
            return Poll::Ready(Ok(wanted));
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(self.written(result, wanted))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn awaited_responses_are_read_in_turns_up_to_the_limit() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (mut target, _) = listener.accept().await.unwrap();
        let flood =
            tokio::spawn(async move { while target.write_all(&[0; 65536]).await.is_ok() {} });
        let meter = Arc::new(Meter::default());
        meter.await_response();
        let mut io = Io::new(stream.unwrap(), Arc::clone(&meter));
        while !meter.is_over() {
            let read = std::future::poll_fn(|cx| {
                let before = meter.received();
                let mut bytes = [0; 4096];
                while Pin::new(&mut io)
                    .poll_read(cx, &mut ReadBuf::new(&mut bytes))
                    .is_ready()
                {}
                match meter.received() - before {
                    0 => Poll::Pending,
                    read => Poll::Ready(read),
                }
            });
            let read = read.await;
            assert!(read <= TURN, "{read}");
        }
        assert!(meter.received() <= MAX_BEFORE_RESPONSE + TURN);
        flood.abort();
    }
}
