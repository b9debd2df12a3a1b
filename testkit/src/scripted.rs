//! A scripted endpoint in AWS's place: scripted answers, faults, and a real emulator behind it for
//! all other calls.
//!
//! A test configures an SDK with this endpoint's address. Calls that its script answers are not
//! forwarded; the others reach the emulator unchanged (same bytes, same `Host`), or, without an
//! emulator, fail the test with their name.

mod answer;
mod call;
mod faults;
pub mod gaps;

pub use answer::Answer;
pub use call::{Call, Protocol};
pub use faults::Faults;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use faults::Fate;

/// Answers calls: `None` forwards a call to the emulator.
type Script = dyn Fn(&Call, &Upstream) -> Option<Answer> + Send + Sync;

/// An endpoint under construction.
#[derive(Default)]
pub struct Builder {
    upstream: Option<SocketAddr>,
    script: Option<Box<Script>>,
    gaps: Option<Box<Script>>,
    faults: Option<Faults>,
}

impl Builder {
    /// The address on loopback of the emulator behind it.
    #[must_use]
    pub fn upstream(mut self, emulator: SocketAddr) -> Self {
        self.upstream = Some(emulator);
        self
    }

    /// Answers calls instead of the emulator. The script may ask the emulator itself and change its
    /// answer. It runs on a thread where it may block, and for several calls concurrently.
    #[must_use]
    pub fn script(
        mut self,
        script: impl Fn(&Call, &Upstream) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        self.script = Some(Box::new(script));
        self
    }

    /// Answers calls that the emulator cannot answer like AWS, as part of the emulator: faults
    /// apply to these calls too.
    #[must_use]
    pub fn gaps(
        mut self,
        gaps: impl Fn(&Call, &Upstream) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        self.gaps = Some(Box::new(gaps));
        self
    }

    /// The faults of calls that the script does not answer.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Starts it on a free port of loopback.
    ///
    /// # Errors
    /// When a thread or socket cannot be created.
    pub fn start(self) -> io::Result<Endpoint> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        // Not by the runtime: a test may be in another one, where no call may block on this.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let upstream = self.upstream.map(|address| Upstream {
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            runtime: runtime.handle().clone(),
        });
        let shared = Arc::new(Shared {
            upstream: upstream.unwrap_or_else(|| Upstream::nowhere(runtime.handle())),
            script: self.script,
            gaps: self.gaps,
            faults: self.faults,
            log: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("scripted-aws".into())
            .spawn(move || {
                runtime.block_on(async {
                    let listener = TcpListener::from_std(listener)
                        .expect("a listener that does not block is taken");
                    tokio::select! {
                        () = serve(listener, serving) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            })?;
        Ok(Endpoint {
            address,
            shared,
            _stop: stop,
            _thread: thread,
        })
    }
}

/// A running endpoint; it ends when it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<Infallible>,
    _thread: std::thread::JoinHandle<()>,
}

impl Endpoint {
    /// A builder without a script, an emulator or faults.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL for an SDK: `http://127.0.0.1:4711`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far, in order of arrival; retries count.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.log().clone()
    }

    /// Clears the calls so far.
    pub fn forget(&self) {
        self.shared.log().clear();
    }
}

struct Shared {
    upstream: Upstream,
    script: Option<Box<Script>>,
    gaps: Option<Box<Script>>,
    faults: Option<Faults>,
    log: Mutex<Vec<Call>>,
}

impl Shared {
    fn log(&self) -> std::sync::MutexGuard<'_, Vec<Call>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The emulator, for use by a script.
pub struct Upstream {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Handle,
}

impl Upstream {
    /// A placeholder for a missing emulator: it answers every call with an error that names the
    /// call.
    fn nowhere(runtime: &tokio::runtime::Handle) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            client: Client::builder(TokioExecutor::new()).build_http(),
            runtime: runtime.clone(),
        }
    }

    /// Asks the emulator, from a script.
    pub fn ask(&self, call: &Call) -> Answer {
        self.runtime.block_on(self.forward(call))
    }

    async fn forward(&self, call: &Call) -> Answer {
        if self.address.port() == 0 {
            return call.error(
                501,
                "NotScripted",
                &format!("the script has no answer to {call}"),
            );
        }
        match self.try_forward(call).await {
            Ok(answer) => answer,
            Err(error) => call.error(502, "EmulatorGone", &error),
        }
    }

    async fn try_forward(&self, call: &Call) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(call.method.as_str())
            .uri(format!("http://{}{}", self.address, call.path));
        for (name, value) in &call.headers {
            // A script may send another body than the received one.
            if name != CONTENT_LENGTH {
                request = request.header(name, value);
            }
        }
        let request = request
            .body(Full::new(Bytes::from(call.body.clone())))
            .map_err(|error| error.to_string())?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let content_type = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .unwrap_or("text/xml")
            .to_owned();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok(Answer {
            status,
            content_type,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(Arc::clone(&shared), request));
            // A connection that ends early is one of the faults.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// A withheld answer: the error closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the answer was lost")]
struct Lost;

type Handling = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Lost>> + Send>>;

fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Handling {
    Box::pin(async move {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return Err(Lost);
        };
        let call = Call::read(&head, &body.to_bytes());
        shared.log().push(call.clone());
        if let Some(answer) = reported(&shared, &call, |shared| shared.script.as_deref()).await {
            return Ok(answer.into_response());
        }
        let fate = shared.faults.as_ref().map_or(Fate::Spared, Faults::next);
        match fate {
            Fate::Throttled => Ok(call.throttled().into_response()),
            Fate::Spared => Ok(emulated(&shared, &call).await.into_response()),
            Fate::Lost => {
                emulated(&shared, &call).await;
                Err(Lost)
            }
        }
    })
}

/// The emulator's answer, or the one that fills its gap.
async fn emulated(shared: &Arc<Shared>, call: &Call) -> Answer {
    match reported(shared, call, |shared| shared.gaps.as_deref()).await {
        Some(answer) => answer,
        None => shared.upstream.forward(call).await,
    }
}

/// The answer of one of the scripts, on a thread where it may block.
async fn reported(
    shared: &Arc<Shared>,
    call: &Call,
    which: fn(&Shared) -> Option<&Script>,
) -> Option<Answer> {
    let (shared, asked) = (Arc::clone(shared), call.clone());
    tokio::task::spawn_blocking(move || {
        let script = which(&shared)?;
        script(&asked, &shared.upstream)
    })
    .await
    .unwrap_or_else(|panic| Some(call.error(500, "ScriptFailed", &panic.to_string())))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    /// One EC2 call without an SDK; `None` when the connection ends without an answer.
    fn ask(endpoint: &Endpoint, action: &str) -> Option<String> {
        let body = format!("Action={action}&Version=2016-11-15");
        let mut stream = TcpStream::connect(endpoint.address).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: ec2.example\r\nconnection: close\r\ncontent-length: {}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-central-1/ec2/aws4_request, Signature=0\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        // A lost answer may end in a reset.
        let _ = stream.read_to_string(&mut answer);
        (!answer.is_empty()).then_some(answer)
    }

    #[test]
    fn unscripted_calls_reach_the_emulator() {
        let emulator = Endpoint::builder()
            .script(|call, _| {
                Some(call.result(&format!("<host>{:?}</host>", call.headers["host"])))
            })
            .start()
            .unwrap();
        let front = Endpoint::builder()
            .upstream(emulator.address)
            .script(|call, upstream| match call.action.as_str() {
                "CreateVpc" => Some(call.result("<vpcId>vpc-1</vpcId>")),
                "DeleteVpc" => Some(upstream.ask(call).with_status(202)),
                _ => None,
            })
            .start()
            .unwrap();
        assert!(ask(&front, "CreateVpc").unwrap().contains("<vpcId>vpc-1"));
        let forwarded = ask(&front, "DescribeVpcs").unwrap();
        assert!(forwarded.contains("<DescribeVpcsResponse>"), "{forwarded}");
        assert!(forwarded.contains("ec2.example"), "{forwarded}");
        assert!(
            ask(&front, "DeleteVpc")
                .unwrap()
                .starts_with("HTTP/1.1 202")
        );
        let calls: Vec<String> = front.calls().iter().map(ToString::to_string).collect();
        assert_eq!(
            calls,
            ["ec2:CreateVpc", "ec2:DescribeVpcs", "ec2:DeleteVpc"]
        );
        assert_eq!(emulator.calls().len(), 2);
    }

    #[test]
    fn a_lost_answer_is_lost_after_the_call_took_effect() {
        let emulator = Endpoint::builder()
            .script(|call, _| Some(call.result("")))
            .start()
            .unwrap();
        let front = Endpoint::builder()
            .upstream(emulator.address)
            .faults(Faults::seeded(1).lose_every(2))
            .start()
            .unwrap();
        assert!(ask(&front, "CreateVpc").is_some());
        assert_eq!(ask(&front, "CreateVpc"), None);
        assert_eq!(emulator.calls().len(), 2);
    }

    #[test]
    fn a_call_without_an_answer_is_named() {
        let endpoint = Endpoint::builder().start().unwrap();
        let answer = ask(&endpoint, "CreateVpc").unwrap();
        assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
        assert!(answer.contains("no answer to ec2:CreateVpc"), "{answer}");
    }
}
