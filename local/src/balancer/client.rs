//! One client connection: HTTP/1 with keep-alive and pipelining, idle timeout, orderly end.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::headers::Forwarded;
use super::io::{Io, Meter, Phase};
use super::node::Worker;
use super::proxy::Front;
use super::respond;
use super::upstream::MAX_BUFFER;

/// "Entire request header" in the quotas of Application Load Balancers; more is a 431.
const MAX_REQUEST_HEAD: usize = 64 * 1024;

/// How a connection came to its end.
enum End {
    /// Closed by either side, or handed over to a tunnel.
    Over,
    /// Quiet for the idle timeout.
    Idle,
    /// The node is stopped and does not wait any longer.
    Aborted,
}

/// Serves a client until either side closes.
pub(super) async fn serve(worker: Arc<Worker>, stream: TcpStream, peer: SocketAddr, port: u16) {
    let meter = Arc::new(Meter::default());
    let front = Arc::new(Front {
        worker: Arc::clone(&worker),
        meter: Arc::clone(&meter),
        forwarded: Forwarded::new(peer.ip(), port),
    });
    // What this connection saw last of the routing table.
    let listener = RefCell::new((u64::MAX, None));
    let service = service_fn(move |request| {
        let mut known = listener.borrow_mut();
        let version = front.worker.shared.version();
        if known.0 != version {
            *known = (
                version,
                front.worker.shared.table().listeners.get(&port).cloned(),
            );
        }
        let reply = Arc::clone(&front).serve(known.1.clone(), request);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(MAX_BUFFER)
        .max_header_size(MAX_REQUEST_HEAD)
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(Io::client(stream, Arc::clone(&meter))),
            service,
        )
        .with_upgrades();

    // Looks four times per idle timeout, instead of being set anew for every request.
    let quarter = worker.shared.attributes.idle_timeout / 4;
    let mut quiet = 0;
    let mut timer = pin!(tokio::time::sleep(quarter));
    let mut stopping = pin!(worker.stop.cancelled());
    let mut aborting = pin!(worker.abort.cancelled());
    // The tokens are asked once, which leaves them this task's waker, and again when the node's
    // state has changed: asking them takes a lock.
    let mut asked = None;
    let mut stopped = false;
    let end = std::future::poll_fn(|cx| {
        if Pin::new(&mut connection).poll(cx).is_ready() {
            // An error here is the client's: it broke off, or sent what hyper answered with 400.
            return Poll::Ready(End::Over);
        }
        while timer.as_mut().poll(cx).is_ready() {
            // While a target is asked, its own timer decides, and answers with 504 or 408.
            let busy = meter.take_progress() || meter.phase() == Phase::Answer;
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == 4 {
                return Poll::Ready(End::Idle);
            }
            timer.as_mut().reset(Instant::now() + quarter);
        }
        let state = worker.state();
        if asked != Some(state) {
            asked = Some(state);
            if aborting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Aborted);
            }
            if !stopped && stopping.as_mut().poll(cx).is_ready() {
                stopped = true;
                Pin::new(&mut connection).graceful_shutdown();
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    })
    .await;
    if matches!(end, End::Idle)
        && meter.phase() == Phase::Request
        && meter.has_partial_head()
        && let Some(mut stream) = connection
            .into_parts()
            .map(|parts| parts.io.into_inner().into_stream())
    {
        // Tried once: a client too slow to ask is not waited for again.
        let _ = stream.try_write(respond::REQUEST_TIMEOUT);
        let _ = stream.shutdown().await;
    }
}
