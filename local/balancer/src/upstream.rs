//! Connections to targets, and each node's pool of idle connections.
//!
//! The task of a request drives the connection that carries it. So a request needs no hand-over between tasks, and
//! dropping a request closes its connection. No task drives an idle connection; the pool notices that its target has
//! closed it when the connection is taken.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::head::MAX_FIELDS;
use super::meter::Meter;
use super::request_body::RequestBody;
use super::table::{Destination, Table};
use super::target_stream::TargetStream;

/// Sends and receives; a boxed future, because hyper does not export its type.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// The limit on a target's response head; "entire response header" in the quotas of Application Load Balancers.
const MAX_RESPONSE_HEAD: usize = 32 * 1024;
/// The maximum number of idle connections of a node to one target.
const MAX_IDLE: usize = 256;
/// The number of consecutive idle timeouts for which interim responses (1xx) extend the wait.
const MAX_INTERIM_PERIODS: u32 = 2;
/// The limit on the buffer of one connection.
pub(super) const MAX_BUFFER: usize = 64 * 1024;

/// A connection to a target.
pub(super) struct Upstream {
    sender: SendRequest<RequestBody>,
    driver: Driver,
    done: bool,
    timer: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    meter: Arc<Meter>,
    /// The number of pool sweeps since its last use.
    sweeps: u32,
}

/// The reason for a missing response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The target had closed the connection; no part of the request was sent.
    Unsent(Box<Request<RequestBody>>),
    /// No byte in either direction for the idle timeout, because the target is silent.
    TimedOut,
    /// The same, because the client does not send its body.
    ClientStalled,
    /// The target sends interim responses (1xx) without end.
    Interim,
    /// The target closed, reset, or did not send HTTP.
    InvalidResponse(Option<hyper::Error>),
}

impl Upstream {
    /// Connects to a target.
    ///
    /// # Errors
    /// The kernel's error, or `TimedOut` after `connect_timeout`.
    pub(super) async fn connect(
        addr: SocketAddr,
        connect_timeout: Duration,
        idle_timeout: Duration,
    ) -> io::Result<Self> {
        let stream = tokio::time::timeout(connect_timeout, TcpStream::connect(addr))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let meter = Arc::new(Meter::default());
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .max_header_size(MAX_RESPONSE_HEAD)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(TargetStream::new(stream, Arc::clone(&meter))))
            .await
            .map_err(io::Error::other)?;
        Ok(Self {
            sender,
            driver: Box::pin(connection.with_upgrades()),
            done: false,
            timer: Box::pin(tokio::time::sleep(idle_timeout)),
            idle_timeout,
            meter,
            sweeps: 0,
        })
    }

    /// Sends and receives as much as possible now. A real waker in `cx` is woken for more.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Option<hyper::Error> {
        if self.done {
            return None;
        }
        match self.driver.as_mut().poll(cx) {
            Poll::Pending => None,
            Poll::Ready(result) => {
                self.done = true;
                result.err()
            }
        }
    }

    /// Whether the target has closed the connection, or it cannot be used any more.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The meter of the connection; it stays valid after the connection has another owner.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Ready when no byte has gone in either direction for the idle timeout, or up to twice as long after earlier
    /// bytes: bytes do not reset the timer, it is checked when it fires.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if !self.meter.take_progress() {
                return Poll::Ready(());
            }
            self.timer
                .as_mut()
                .reset(Instant::now() + self.idle_timeout);
        }
        Poll::Pending
    }

    /// Like [`Self::poll_idle`], but bytes from the target that are no final response extend the wait only for a
    /// limited time.
    fn poll_response_idle(&mut self, cx: &mut Context<'_>, interim: &mut u32) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if !self.meter.take_progress() {
                return Poll::Ready(());
            }
            *interim = if self.meter.take_wrote() {
                0
            } else {
                *interim + 1
            };
            if *interim > MAX_INTERIM_PERIODS {
                return Poll::Ready(());
            }
            self.timer
                .as_mut()
                .reset(Instant::now() + self.idle_timeout);
        }
        Poll::Pending
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
        client: &Meter,
    ) -> Result<Response<Incoming>, Failure> {
        self.timer
            .as_mut()
            .reset(Instant::now() + self.idle_timeout);
        // `drive` makes the response ready, so no waker is needed. The task's budget must not delay it, because
        // nothing would poll it again.
        let mut response = pin!(tokio::task::coop::unconstrained(
            self.sender.try_send_request(request)
        ));
        let mut sent = false;
        let mut interim = 0;
        self.meter.await_response();
        std::future::poll_fn(|cx| {
            let mut error = self.drive(cx);
            if !sent {
                // The request's own head does not count as progress.
                sent = true;
                self.meter.take_progress();
                self.meter.take_wrote();
            }
            match response
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(Ok(response)) => {
                    self.meter.end_await();
                    Poll::Ready(Ok(response))
                }
                Poll::Ready(Err(mut refused)) => Poll::Ready(Err(match refused.take_message() {
                    Some(request) => Failure::Unsent(Box::new(request)),
                    None => Failure::InvalidResponse(Some(refused.into_error())),
                })),
                Poll::Pending if self.done => {
                    Poll::Ready(Err(Failure::InvalidResponse(error.take())))
                }
                Poll::Pending if self.meter.is_over() => Poll::Ready(Err(Failure::Interim)),
                Poll::Pending => self.poll_response_idle(cx, &mut interim).map(|()| {
                    Err(match (self.meter.received(), client.wants_body()) {
                        (1.., _) if interim > MAX_INTERIM_PERIODS => Failure::Interim,
                        (_, true) => Failure::ClientStalled,
                        (_, false) => Failure::TimedOut,
                    })
                }),
            }
        })
        .await
    }

    /// Whether the connection can carry another request, after the last one has ended.
    fn is_reusable(&mut self) -> bool {
        // This also removes the last task's waker from the connection.
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.done && self.sender.is_ready()
    }
}

/// The idle connections of one node, by target.
///
/// Only the node's own thread takes the lock.
pub(super) struct Pool {
    idle: Mutex<BTreeMap<u64, Vec<Upstream>>>,
    max_sweeps: u32,
}

impl Pool {
    /// A pool whose connections stay idle for at most this many timed sweeps.
    pub(super) fn new(max_sweeps: u32) -> Self {
        Self {
            idle: Mutex::default(),
            max_sweeps,
        }
    }

    /// The most recently used connection that is still open.
    pub(super) fn take(&self, target: &Destination) -> Option<Upstream> {
        loop {
            let mut connection = self.lock().get_mut(&target.serial).and_then(Vec::pop)?;
            if connection.is_reusable() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, if it can carry one.
    pub(super) fn put(&self, target: &Destination, mut connection: Upstream) {
        if target.is_closed() || !connection.is_reusable() {
            return;
        }
        connection.sweeps = 0;
        let mut pool = self.lock();
        let idle = pool.entry(target.serial).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    /// Closes connections that their target has closed, that were idle for too long, or whose target is no longer
    /// registered. `timed` sweeps count as time.
    pub(super) fn sweep(&self, table: &Table, timed: bool) {
        self.lock().retain(|serial, idle| {
            idle.retain_mut(|connection| {
                connection.sweeps += u32::from(timed);
                connection.sweeps <= self.max_sweeps && connection.is_reusable()
            });
            table.open.contains(serial) && !idle.is_empty()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<Upstream>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
