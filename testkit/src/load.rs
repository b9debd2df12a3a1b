//! A constant load on a web service, with the result of each request.
//!
//! Requests are sent at a fixed rate, independent of the answers (an open loop): half of them on
//! persistent connections, each with one request after the other, half on a new connection each.
//! There are no retries.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

/// The time limit of a request, from connecting to the last byte of its answer.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of persistent connections, and of concurrent requests on new ones.
const WORKERS: u32 = 8;

/// The number of failures with a description; all are counted.
const TOLD: usize = 20;

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    thread: JoinHandle<io::Result<Counts>>,
}

/// The results of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests on persistent connections.
    pub kept: u64,
    /// Requests on new connections.
    pub fresh: u64,
    /// Answers by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// The number of requests without an answer: not connected, connection lost, timeout.
    pub unanswered: u64,
    /// Descriptions of the first failures: the time since the start, the sort of connection, the
    /// error.
    pub failures: Vec<String>,
    /// The slowest answer.
    pub slowest: Duration,
    /// The duration of the load.
    pub took: Duration,
}

impl Counts {
    /// All requests.
    pub fn sent(&self) -> u64 {
        self.kept + self.fresh
    }

    /// Requests with an answer other than 200, or without an answer.
    pub fn failed(&self) -> u64 {
        self.sent() - self.statuses.get(&200).copied().unwrap_or_default()
    }

    /// Requests per second, over the whole duration.
    pub fn rate(&self) -> f64 {
        self.sent() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// One line for the reader of a test's output, and one for each described failure.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests in {:.1} s ({:.0}/s; {} on kept connections, {} on new ones): {} failed",
            self.sent(),
            self.took.as_secs_f64(),
            self.rate(),
            self.kept,
            self.fresh,
            self.failed(),
        )?;
        for (status, count) in &self.statuses {
            write!(f, ", {count} × {status}")?;
        }
        if self.unanswered > 0 {
            write!(f, ", {} × no answer", self.unanswered)?;
        }
        write!(f, "; slowest {} ms", self.slowest.as_millis())?;
        for failure in &self.failures {
            write!(f, "\n  {failure}")?;
        }
        Ok(())
    }
}

impl Load {
    /// Starts to request `path` of a URL under `.localhost`, over IPv4 loopback, this many times
    /// per second.
    ///
    /// # Errors
    /// When `url` is not such a URL, or a thread cannot be started. Failures of requests are
    /// counted.
    pub fn start(url: &str, path: &str, per_second: u32) -> io::Result<Self> {
        let authority = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next())
            .ok_or_else(|| io::Error::other(format!("{url} is no http URL")))?;
        let port = authority.rsplit_once(':').map_or("80", |(_, port)| port);
        let target = Target {
            address: SocketAddr::from(([127, 0, 0, 1], port.parse().map_err(io::Error::other)?)),
            host: authority.to_owned(),
            path: path.to_owned(),
        };
        let (stop, stopped) = watch::channel(false);
        // A separate thread keeps the rate, also while the test itself blocks.
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(runtime.block_on(run(&target, per_second, stopped)))
            })?;
        Ok(Self { stop, thread })
    }

    /// Stops the load after the requests in flight are answered.
    ///
    /// # Errors
    /// When its thread failed.
    pub fn finish(self) -> io::Result<Counts> {
        self.stop.send_replace(true);
        self.thread
            .join()
            .map_err(|_| io::Error::other("the load's thread panicked"))?
    }
}

#[derive(Debug)]
struct Target {
    address: SocketAddr,
    host: String,
    path: String,
}

type Connection = SendRequest<Empty<Bytes>>;

async fn run(target: &Target, per_second: u32, stop: watch::Receiver<bool>) -> Counts {
    let start = Instant::now();
    let apart = Duration::from_secs(1) * 2 * WORKERS / per_second.max(1);
    let workers = (0..2 * WORKERS).map(|worker| {
        let offset = apart * worker / (2 * WORKERS);
        work(
            target,
            start,
            (offset, apart),
            worker % 2 == 0,
            stop.clone(),
        )
    });
    let mut all = Counts::default();
    // Each worker waits only for its own answers.
    for one in join_all(workers).await {
        all.kept += one.kept;
        all.fresh += one.fresh;
        all.unanswered += one.unanswered;
        all.slowest = all.slowest.max(one.slowest);
        for (status, count) in one.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
        all.failures.extend(one.failures);
    }
    all.failures.sort();
    all.failures.truncate(TOLD);
    all.took = start.elapsed();
    all
}

/// Sends requests at an interval until it is stopped.
async fn work(
    target: &Target,
    start: Instant,
    (offset, apart): (Duration, Duration),
    keeps: bool,
    mut stop: watch::Receiver<bool>,
) -> Counts {
    let mut counts = Counts::default();
    let mut ticks = interval_at((start + offset).into(), apart);
    // Requests delayed by an answer are sent afterwards: the rate follows the clock.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut kept: Option<Connection> = None;
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return counts,
            _ = ticks.tick() => {}
        }
        let sent = Instant::now();
        let asked = timeout(WAIT_TIMEOUT, ask(target, &mut kept, keeps)).await;
        *(if keeps {
            &mut counts.kept
        } else {
            &mut counts.fresh
        }) += 1;
        counts.slowest = counts.slowest.max(sent.elapsed());
        let why = match asked {
            Ok(Ok(status)) => {
                *counts.statuses.entry(status).or_default() += 1;
                (status != 200).then(|| format!("status {status}"))
            }
            Ok(Err(error)) => Some(error),
            Err(_) => Some(format!("no answer within {} s", WAIT_TIMEOUT.as_secs())),
        };
        let Some(why) = why else { continue };
        if !why.starts_with("status") {
            counts.unanswered += 1;
            kept = None;
        }
        let since = sent.duration_since(start).as_secs_f64();
        let sort = if keeps { "kept" } else { "new" };
        counts
            .failures
            .push(format!("after {since:8.3} s, {sort} connection: {why}"));
    }
}

/// Sends one request and reads its complete answer.
async fn ask(target: &Target, kept: &mut Option<Connection>, keeps: bool) -> Result<u16, String> {
    let mut connection = match kept.take() {
        // The server may close an idle connection.
        Some(kept) if !kept.is_closed() => kept,
        _ => connect(target).await?,
    };
    if connection.ready().await.is_err() {
        connection = connect(target).await?;
    }
    let request = Request::get(&target.path)
        .header("host", &target.host)
        .header("connection", if keeps { "keep-alive" } else { "close" })
        .body(Empty::new())
        .map_err(|error| format!("no request: {error}"))?;
    let answer = connection
        .send_request(request)
        .await
        .map_err(|error| format!("the request was not answered: {error}"))?;
    let status = answer.status().as_u16();
    answer
        .into_body()
        .collect()
        .await
        .map_err(|error| format!("the answer ended early: {error}"))?;
    if keeps {
        *kept = Some(connection);
    }
    Ok(status)
}

async fn connect(target: &Target) -> Result<Connection, String> {
    let stream = TcpStream::connect(target.address)
        .await
        .map_err(|error| format!("not connected: {error}"))?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("not connected: {error}"))?;
    // It ends with the connection; its errors are reported to the request on it.
    tokio::spawn(driver);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers requests with these statuses in turn; 0 closes the connection instead.
    fn server(statuses: &'static [u16]) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines();
                    for status in statuses.iter().cycle() {
                        while lines
                            .next()
                            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                        {
                        }
                        let answer =
                            format!("HTTP/1.1 {status} Said\r\ncontent-length: 2\r\n\r\nok");
                        if *status == 0 || (&stream).write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        format!("http://test.localhost:{port}/")
    }

    fn load_for(url: &str, time: Duration) -> Counts {
        let load = Load::start(url, "/", 400).unwrap();
        std::thread::sleep(time);
        load.finish().unwrap()
    }

    #[test]
    fn load_uses_kept_connections_and_counts_answers() {
        let counts = load_for(&server(&[200]), Duration::from_millis(500));
        assert_eq!(counts.failed(), 0, "{counts}");
        assert!(counts.kept > 0 && counts.fresh > 0, "{counts}");
        assert_eq!(counts.statuses[&200], counts.sent());
    }

    #[test]
    fn other_statuses_and_lost_connections_are_failures() {
        let counts = load_for(&server(&[200, 503, 0]), Duration::from_millis(500));
        assert!(counts.statuses[&503] > 0, "{counts}");
        assert!(counts.unanswered > 0, "{counts}");
        assert_eq!(
            counts.failed(),
            counts.statuses[&503] + counts.unanswered,
            "{counts}"
        );
        assert!(counts.to_string().contains("status 503"), "{counts}");
    }

    #[test]
    fn nobody_there_is_a_failure_of_every_request() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let counts = load_for(
            &format!("http://test.localhost:{port}/"),
            Duration::from_millis(200),
        );
        assert!(counts.sent() > 0);
        assert_eq!(counts.unanswered, counts.sent(), "{counts}");
    }
}
