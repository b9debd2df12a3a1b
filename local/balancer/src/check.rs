//! Health checks: one task per target, on the node of the target's zone, inside its namespace.
//!
//! On AWS, every node checks every target itself. Here, the node in the target's zone checks the target, and all
//! nodes use its result. Whether nodes of other zones can reach the target is not checked.
//!
//! The first check starts at registration. Until a target has passed or failed for good, extra checks run between two
//! intervals: after 20 ms, and then with doubled pauses, because a local instance starts in milliseconds and should
//! not wait for the next interval. An extra check can make the target healthy, but its failure does not count. Later
//! checks follow the interval only.

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

/// The first pause between two checks of a target that was never healthy.
const FIRST_RETRY: Duration = Duration::from_millis(20);

/// Receives the results of a target's checks.
pub(super) trait Observer: Send + Sync {
    /// The first check starts.
    fn started(&self);
    /// A check has ended; `counted` says whether a failure counts. Returns whether the target still waits for its
    /// first pass, or `None` when its checks must end.
    fn ended(&self, outcome: Outcome, counted: bool) -> Option<bool>;
}

/// Checks a target until the observer ends the checks.
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

/// Runs one check. When the process is out of files, the check says nothing about the target and is repeated.
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

/// The reason for a check without a status code.
enum NoStatus {
    /// This process is out of files or memory.
    Exhausted,
    /// The target failed, or the network path to it.
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
        // AWS sends this value, so log filters of services also work here.
        .header(USER_AGENT, "ELB-HealthChecker/2.0")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the health check's path {path} is not one: {error}"))?;
    // The connection ends with this function, because a check sends one request.
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
            // The stream woke this task when it stopped reading.
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
