//! One client connection: HTTP/1 with keep-alive and pipelining, idle timeout, orderly end.
//!
//! The HTTP parser and its buffers exist only during a request. While a connection waits for its first head, and
//! after a pause for the next one, it has only its socket.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::client_stream::ClientStream;
use super::head::{MAX_FIELDS, MAX_HEAD};
use super::headers::Forwarded;
use super::linger;
use super::meter::{Meter, Phase};
use super::proxy::Front;
use super::room::Seat;
use super::upstream::MAX_BUFFER;
use super::worker::Worker;

/// How many of the four looks per idle timeout a quiet connection keeps its parser for.
const QUIET_LOOKS_WITH_PARSER: u32 = 1;

/// The reason for the end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Closed by either side, or passed to a tunnel.
    Over,
    /// Quiet for the idle timeout, or evicted in favour of newer connections.
    Idle,
    /// The node is stopped.
    Stopped,
    /// Quiet long enough to wait without a parser.
    Parked,
}

/// Ends a connection for other reasons than its requests.
struct Watch<'a> {
    worker: &'a Worker,
    meter: &'a Meter,
    /// Fires four times per idle timeout. A reset for every request would cost more.
    timer: Pin<Box<Sleep>>,
    quarter: Duration,
    quiet: u32,
    stopped: bool,
    /// The state of the node at the last poll. The tokens are polled once, which registers this task's waker, and
    /// again after each change of the state, because a poll takes a lock.
    seen: Option<u8>,
}

impl Watch<'_> {
    /// Ready when the connection must end, or has been quiet for another quarter of the idle timeout.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
        mut aborting: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Signal> {
        if self.meter.is_evicted() {
            return Poll::Ready(Signal::End(End::Idle));
        }
        let state = self.worker.state();
        if self.seen != Some(state) {
            self.seen = Some(state);
            self.meter.set_waker(cx.waker());
            if aborting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Signal::End(End::Stopped));
            }
            if !self.stopped && stopping.as_mut().poll(cx).is_ready() {
                self.stopped = true;
                return Poll::Ready(Signal::Stop);
            }
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            // During a request to a target, the target's own timer decides, with a 504 or a 408.
            let busy = self.meter.take_progress() || self.meter.phase() == Phase::Answer;
            self.quiet = if busy { 0 } else { self.quiet + 1 };
            if self.quiet == 4 {
                return Poll::Ready(Signal::End(End::Idle));
            }
            self.timer.as_mut().reset(Instant::now() + self.quarter);
            if self.quiet >= QUIET_LOOKS_WITH_PARSER {
                return Poll::Ready(Signal::Quiet);
            }
        }
        Poll::Pending
    }
}

enum Signal {
    End(End),
    /// Finish the request in flight, and accept no other one.
    Stop,
    Quiet,
}

/// Serves a client until either side closes.
pub(super) async fn serve(
    worker: Arc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    meter: Arc<Meter>,
    seat: Seat,
) {
    let front = Arc::new(Front {
        worker: Arc::clone(&worker),
        meter: Arc::clone(&meter),
        forwarded: Forwarded::new(peer.ip(), port),
        seat: Arc::new(seat),
    });
    let attributes = &worker.shared.attributes;
    let quarter = attributes.idle_timeout / 4;
    let mut watch = Watch {
        worker: &worker,
        meter: &meter,
        timer: Box::pin(tokio::time::sleep(quarter)),
        quarter,
        quiet: 0,
        stopped: false,
        seen: None,
    };
    let mut stopping = pin!(worker.stop.cancelled());
    let mut aborting = pin!(worker.abort.cancelled());
    let head_timeout = attributes.head_timeout.min(attributes.idle_timeout);
    let mut stream = ClientStream::new(stream, Arc::clone(&meter), head_timeout);
    let end = loop {
        let end = poll_fn(|cx| {
            loop {
                match stream.poll_request(cx) {
                    Poll::Ready(Ok(true)) => return Poll::Ready(None),
                    Poll::Ready(_) => return Poll::Ready(Some(End::Over)),
                    Poll::Pending => {}
                }
                match watch.poll(cx, stopping.as_mut(), aborting.as_mut()) {
                    Poll::Ready(Signal::Quiet) => {}
                    Poll::Ready(Signal::Stop) => return Poll::Ready(Some(End::Stopped)),
                    Poll::Ready(Signal::End(end)) => return Poll::Ready(Some(end)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        if let Some(end) = end {
            break end;
        }

        // The routing table that this connection read last.
        let known = RefCell::new((u64::MAX, None));
        let front = Arc::clone(&front);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let fault = front.meter.begin(&request.body().size_hint());
            let mut known = known.borrow_mut();
            let version = front.worker.shared.version();
            if known.0 != version {
                let table = front.worker.shared.table();
                *known = (version, table.listeners.get(&port).cloned());
            }
            let reply = Arc::clone(&front).serve(known.1.as_deref(), request, fault);
            reply.map(Ok::<_, Infallible>)
        });
        let mut connection = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .max_header_size(MAX_HEAD + MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let end = poll_fn(|cx| {
            loop {
                if Pin::new(&mut connection).poll(cx).is_ready() {
                    // An error means that the client disconnected.
                    return Poll::Ready(End::Over);
                }
                match watch.poll(cx, stopping.as_mut(), aborting.as_mut()) {
                    Poll::Ready(Signal::End(end)) => return Poll::Ready(end),
                    Poll::Ready(Signal::Stop) => Pin::new(&mut connection).graceful_shutdown(),
                    Poll::Ready(Signal::Quiet)
                        if meter.phase() == Phase::Request && !meter.is_unflushed() =>
                    {
                        return Poll::Ready(End::Parked);
                    }
                    Poll::Ready(Signal::Quiet) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        // A tunnel owns the stream now.
        let Some(parts) = connection.into_parts() else {
            return;
        };
        stream = parts.io.into_inner();
        if end != End::Parked || watch.stopped || !parts.read_buf.is_empty() || !stream.park() {
            break if end == End::Parked { End::Idle } else { end };
        }
        worker.room.release();
    };
    if meter.is_evicted() {
        // Close at once, without waiting for a slow client.
        let _ = stream.into_stream().set_zero_linger();
    } else if end == End::Over {
        meter.set_phase(Phase::Request);
        let unfinished = stream.is_unfinished();
        let lingering = linger::close(stream.into_stream(), unfinished);
        let mut lingering = pin!(lingering);
        poll_fn(|cx| {
            if lingering.as_mut().poll(cx).is_ready() || meter.is_evicted() {
                return Poll::Ready(());
            }
            meter.set_waker(cx.waker());
            aborting.as_mut().poll(cx)
        })
        .await;
    }
}
