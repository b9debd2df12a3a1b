//! Health checks: one task per target, on the node of the target's zone, inside its namespace.
//!
//! On AWS every node forms its own opinion of every target. Here one node checks each target, the
//! one in the target's zone, and all nodes share its opinion; whether the other zones' nodes can
//! reach the target is not looked at.
//!
//! The first check is sent at registration. Until a target has passed or failed for good, it is
//! asked again between two intervals, 20 ms later and then twice as long each time, because a
//! local instance is up in milliseconds and should not wait for the next interval; these extra
//! checks can find it healthy but do not count as failures. From then on the interval alone says
//! when.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::config::HealthCheckConfig;
use super::health::Outcome;
use super::meter::Meter;
use super::target_stream::TargetStream;
use landfall_kernel::accept::{EXHAUSTED_PAUSE, is_exhaustion};

/// The first pause between two checks of a target that has not been seen up yet.
const FIRST_RETRY: Duration = Duration::from_millis(20);

/// Who wants to know about a target's checks.
pub(super) trait Observer: Send + Sync {
    /// The first check is being sent.
    fn started(&self);
    /// A check has ended; `counted` says whether a failure counts. Returns whether the target still
    /// waits for its first pass, or `None` when it need not be checked any more.
    fn ended(&self, outcome: Outcome, counted: bool) -> Option<bool>;
}

/// Checks a target until the observer says that it need not be.
pub(super) async fn run(addr: SocketAddr, config: HealthCheckConfig, observer: impl Observer) {
    let addr = SocketAddr::new(addr.ip(), config.port.unwrap_or(addr.port()));
    observer.started();
    loop {
        let next = Instant::now() + config.interval;
        let Some(mut initial) = observer.ended(once(addr, &config).await, true) else {
            return;
        };
        let mut pause = FIRST_RETRY;
        while initial && Instant::now() + pause < next {
            sleep_until(Instant::now() + pause).await;
            pause *= 2;
            match observer.ended(once(addr, &config).await, false) {
                Some(still) => initial = still,
                None => return,
            }
        }
        sleep_until(next).await;
    }
}

/// Sends one check. A process that is out of files learns nothing about its targets, and asks again.
pub(super) async fn once(addr: SocketAddr, config: &HealthCheckConfig) -> Outcome {
    loop {
        return match timeout(config.timeout, status(addr, &config.path)).await {
            Err(_) => Outcome::Timeout,
            Ok(Err(NoStatus::Exhausted)) => {
                sleep(EXHAUSTED_PAUSE).await;
                continue;
            }
            Ok(Err(NoStatus::Failed(why))) => Outcome::Failed(why),
            Ok(Ok(code)) if config.matcher.matches(code) => Outcome::Pass,
            Ok(Ok(code)) => Outcome::Mismatch(code),
        };
    }
}

/// Why a check has no status code.
enum NoStatus {
    /// This process is out of files or memory.
    Exhausted,
    /// The target or the way to it failed.
    Failed(String),
}

impl From<String> for NoStatus {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

async fn status(addr: SocketAddr, path: &str) -> Result<u16, NoStatus> {
    let stream = match TcpStream::connect(addr).await {
        Err(error) if is_exhaustion(&error) => return Err(NoStatus::Exhausted),
        connected => connected.map_err(|error| format!("no connection to {addr}: {error}"))?,
    };
    let no_answer = |error: hyper::Error| format!("no HTTP response from {addr}: {error}");
    let meter = Arc::new(Meter::default());
    meter.await_response();
    let stream = TokioIo::new(TargetStream::new(stream, Arc::clone(&meter)));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(no_answer)?;
    let request = hyper::Request::get(path)
        .header(HOST, addr.to_string())
        // What AWS sends, so that services which filter their logs by it do so here.
        .header(USER_AGENT, "ELB-HealthChecker/2.0")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the health check's path {path} is not one: {error}"))?;
    // The connection ends with this function: a check has nothing more to say.
    let mut response = std::pin::pin!(sender.send_request(request));
    let mut connection = std::pin::pin!(connection);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            response = &mut response => {
                return Ok(response.map_err(no_answer)?.status().as_u16());
            }
            _ = &mut connection, if open => open = false,
            // The stream has woken this task when it stopped reading.
            () = poll_fn(|_| match meter.is_over() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }) => {
                let why = format!("no HTTP response from {addr}: interim responses (1xx) and no final one");
                return Err(why.into());
            }
        }
    }
}
