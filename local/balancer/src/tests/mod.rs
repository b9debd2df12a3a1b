//! The balancer on loopback: every test has an address of its own, so ports never collide.

mod abuse;
mod bodies;
mod corpus;
mod failures;
mod forward;
mod fuzz;
mod health;
mod requests;
mod rules;
mod streams;

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

pub(super) const PORT: u16 = 8080;
/// No wait in a test takes this long unless something is wrong.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// An address in 127.0.0.0/8 that no other test has, in this process or another.
pub(super) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    // 22 bits of process id leave one address to each; further ones are taken from above.
    let [_, b, c, d] = pid.wrapping_add(n << 16).to_be_bytes();
    Ipv4Addr::new(127, b | 0x40, c, d)
}

/// An address where nobody listens, nor will by chance.
pub(super) fn nobody() -> SocketAddr {
    (own_address(), PORT).into()
}

/// A server whose connections and requests are counted.
pub(super) struct Upstream {
    pub(super) addr: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Upstream {
    /// Answers requests over HTTP/1 with keep-alive. Health checks are not counted.
    pub(super) async fn http<F, R, B>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<B>> + Send,
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let mut upstream = Self::raw(move |stream| {
            let (answer, counted) = (answer.clone(), Arc::clone(&counted));
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    if request
                        .headers()
                        .get("user-agent")
                        .is_none_or(|agent| agent != "ELB-HealthChecker/2.0")
                    {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            }
        })
        .await;
        upstream.requests = requests;
        upstream
    }

    /// Answers 200 with this name.
    pub(super) async fn named(name: &'static str) -> Self {
        Self::http(move |_| async move { Response::new(Full::from(name)) }).await
    }

    /// Runs the given function for each connection.
    pub(super) async fn raw<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            // Ends its connections with itself.
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                open.spawn(serve(stream));
            }
        });
        Self {
            addr,
            connections,
            requests: Arc::default(),
            serving,
        }
    }

    /// Passes health checks, and runs the given function for the connections of other requests; it gets
    /// what the first read brought.
    pub(super) async fn healthy_but<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream, Vec<u8>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        Self::raw(move |mut stream| {
            let serve = serve.clone();
            async move {
                let mut head = vec![0; 65536];
                let n = stream.read(&mut head).await.unwrap_or(0);
                head.truncate(n);
                if String::from_utf8_lossy(&head).contains("ELB-HealthChecker") {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .await;
                } else {
                    serve(stream, head).await;
                }
            }
        })
        .await
    }

    pub(super) fn served(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Stops listening and closes every connection.
    pub(super) async fn kill(mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }
}

/// Health checks quick enough for a test.
pub(super) fn quick_checks() -> HealthCheckConfig {
    HealthCheckConfig {
        path: "/healthz".into(),
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        healthy_threshold: 2,
        unhealthy_threshold: 2,
        ..HealthCheckConfig::default()
    }
}

pub(super) fn group(name: &str) -> TargetGroupConfig {
    TargetGroupConfig {
        name: name.into(),
        health_check: quick_checks(),
        deregistration_delay: DEADLINE,
    }
}

pub(super) fn target(id: &str, addr: SocketAddr) -> Target {
    Target {
        id: id.into(),
        addr,
        zone: "a".into(),
    }
}

/// A balancer with one node in zone `a` and one listener.
pub(super) struct Lb {
    pub(super) balancer: Balancer,
    pub(super) addr: SocketAddr,
}

pub(super) fn no_pin() -> Pin {
    Box::new(|| Ok(()))
}

impl Lb {
    /// Forwards to one group, `web`, whose targets `i-0`, `i-1`, … are healthy already.
    pub(super) async fn to(upstreams: &[&Upstream]) -> Self {
        Self::with(Attributes::default(), upstreams).await
    }

    pub(super) async fn with(attributes: Attributes, upstreams: &[&Upstream]) -> Self {
        let lb = Self::empty(attributes, vec![group("web")]).await;
        lb.listen(vec![], "web").await;
        for (n, upstream) in upstreams.iter().enumerate() {
            lb.balancer
                .register("web", target(&format!("i-{n}"), upstream.addr))
                .unwrap();
        }
        lb.until("web", |all| {
            all.iter().all(|one| one.state == HealthState::Healthy)
        })
        .await;
        lb
    }

    pub(super) async fn empty(attributes: Attributes, groups: Vec<TargetGroupConfig>) -> Self {
        let balancer = Balancer::new("test", attributes);
        balancer.set_groups(groups).unwrap();
        let address = own_address();
        balancer.add_node("a", address, no_pin()).await.unwrap();
        Self {
            balancer,
            addr: (address, PORT).into(),
        }
    }

    pub(super) async fn listen(&self, rules: Vec<Rule>, default_group: &str) {
        let listener = ListenerConfig {
            port: PORT,
            rules,
            default_group: default_group.into(),
        };
        self.balancer.set_listeners(vec![listener]).await.unwrap();
    }

    /// Waits until the health of a group's targets is as wanted.
    pub(super) async fn until(
        &self,
        group: &str,
        wanted: impl Fn(&[TargetHealth]) -> bool,
    ) -> Vec<TargetHealth> {
        let mut changes = self.balancer.watch();
        let reached = timeout(DEADLINE, async {
            loop {
                let health = self.balancer.health(group).unwrap();
                if wanted(&health) {
                    return health;
                }
                changes.changed().await.unwrap();
            }
        });
        match reached.await {
            Ok(health) => health,
            Err(_) => panic!("never reached: {:#?}", self.balancer.health(group)),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        Client::connect(self.addr).await.get(path).await
    }

    /// Sends bytes as they are and returns all that comes back until the balancer closes.
    pub(super) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        raw(self.addr, bytes).await
    }
}

pub(super) async fn raw(addr: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    let mut out = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut out))
        .await
        .expect("it closes")
        .unwrap();
    String::from_utf8_lossy(&out).into_owned()
}

/// A response whose body has been read.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: String,
}

/// A client with one connection.
pub(super) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(super) async fn get(&mut self, path: &str) -> Reply {
        let request = Request::get(path).header("host", "example.test");
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Reply {
        let exchange = async {
            self.0.ready().await.unwrap();
            let (parts, body) = self.0.send_request(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            }
        };
        timeout(DEADLINE, exchange).await.expect("an answer comes")
    }
}
