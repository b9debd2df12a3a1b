//! One request: checked, routed, sent to a target, and its response on the way back.

use std::io;
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use super::body::{RequestBody, ResponseBody, Streaming};
use super::headers::{self, Forwarded};
use super::io::{Meter, Phase};
use super::node::Worker;
use super::respond;
use super::table::{Destination, Group, InFlight, Listener};
use super::tunnel;
use super::upstream::{Failure, Upstream};

/// "Request line" and "Single header" in the quotas of Application Load Balancers.
const MAX_LINE: usize = 16 * 1024;

/// A client connection as its requests see it.
pub(super) struct Front {
    pub(super) worker: Arc<Worker>,
    pub(super) meter: Arc<Meter>,
    pub(super) forwarded: Forwarded,
}

type Reply = Response<ResponseBody>;

/// A response instead of one from a target; boxed because it is the rarer one.
type Refusal = Box<Reply>;

impl Front {
    /// Serves one request. Never fails: what goes wrong is an error response.
    pub(super) async fn serve(
        self: Arc<Self>,
        listener: Option<Arc<Listener>>,
        request: Request<Incoming>,
    ) -> Reply {
        let reply = self.answer(listener, request).await;
        self.meter.set_phase(match reply.body() {
            ResponseBody::Own(_) => Phase::Request,
            ResponseBody::Stream(_) => Phase::Body,
        });
        reply
    }

    async fn answer(
        self: &Arc<Self>,
        listener: Option<Arc<Listener>>,
        mut request: Request<Incoming>,
    ) -> Reply {
        self.meter.set_phase(Phase::Answer);
        let ambiguous = self.meter.head_done(!request.body().is_end_stream());
        if let Err(refusal) = check(&mut request, ambiguous) {
            return *refusal;
        }
        let Some(listener) = listener else {
            // The listener went away while this connection was open.
            return respond::error_and_close(
                StatusCode::SERVICE_UNAVAILABLE,
                "the balancer no longer listens on this port",
            );
        };
        let host = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("");
        let group = listener.route(host, request.uri().path());
        self.forward(group, request).await
    }

    async fn forward(
        self: &Arc<Self>,
        group: &Arc<Group>,
        mut request: Request<Incoming>,
    ) -> Reply {
        let upgrade = headers::strip_hop_by_hop(request.headers_mut())
            .filter(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"));
        headers::strip_request_only(request.headers_mut());
        if self.worker.shared.attributes.drop_invalid_header_fields {
            headers::drop_invalid(request.headers_mut());
        }
        self.forwarded.apply(request.headers_mut());
        *request.version_mut() = Version::HTTP_11;
        let tunnel = upgrade.map(|protocol| {
            headers::set_upgrade(request.headers_mut(), protocol);
            hyper::upgrade::on(&mut request)
        });
        let request = request.map(|incoming| RequestBody::new(incoming, Arc::clone(&self.meter)));

        let (mut response, upstream, in_flight) = match self.send(group, request).await {
            Ok(sent) => sent,
            Err(refusal) => return *refusal,
        };
        let protocol = headers::strip_hop_by_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(client), Some(protocol)) = (tunnel, protocol) else {
                return respond::error(
                    StatusCode::BAD_GATEWAY,
                    "the target changed to a protocol that the client did not ask for",
                );
            };
            headers::set_upgrade(response.headers_mut(), protocol);
            tunnel::start(self, client, &mut response, upstream, in_flight);
            return response.map(|_| ResponseBody::Own(None));
        }
        let (client, worker) = (Arc::clone(&self.meter), Arc::clone(&self.worker));
        response.map(|incoming| {
            let streaming = Streaming::new(incoming, client, worker, upstream, in_flight);
            ResponseBody::Stream(Box::new(streaming))
        })
    }

    /// Sends the request to the group's next target.
    ///
    /// Another attempt is made only as long as no byte of the request has gone out: when an idle
    /// connection turns out closed, its target is connected to anew, and when a target refuses that
    /// has taken connections before, it has just gone away, and the next one gets this request. A
    /// target that refuses without having been connected before is a 502, as on AWS.
    async fn send(
        &self,
        group: &Arc<Group>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Upstream, InFlight), Refusal> {
        let attributes = &self.worker.shared.attributes;
        if !group.routable.is_empty() {
            group.count();
        }
        let mut attempts = group.routable.len().min(3);
        let mut group = Arc::clone(group);
        loop {
            let Some(target) = group.next() else {
                return Err(no_targets(&group));
            };
            let Some(in_flight) = InFlight::enter(target) else {
                // Deregistered since this connection read the table.
                match self.worker.shared.table().groups.get(&group.name) {
                    Some(fresh) => group = Arc::clone(fresh),
                    None => return Err(no_targets(&group)),
                }
                continue;
            };
            if let Some(mut upstream) = self.worker.pool.take(target) {
                match upstream.exchange(request, &self.meter).await {
                    Ok(response) => return Ok((response, upstream, in_flight)),
                    Err(Failure::Unsent(unsent)) => request = *unsent,
                    Err(failure) => return Err(failed(target, &failure)),
                }
            }
            let connected = Upstream::connect(
                target.addr,
                attributes.connect_timeout,
                attributes.idle_timeout,
            )
            .await;
            let mut upstream = match connected {
                Ok(upstream) => {
                    target.reach();
                    upstream
                }
                Err(_) if attempts > 1 && target.was_reached() => {
                    attempts -= 1;
                    continue;
                }
                Err(error) => return Err(unconnected(target, &error)),
            };
            return match upstream.exchange(request, &self.meter).await {
                Ok(response) => Ok((response, upstream, in_flight)),
                Err(failure) => Err(failed(target, &failure)),
            };
        }
    }
}

/// Refuses what no target should see, and brings the rest into the form that targets expect.
fn check(request: &mut Request<Incoming>, ambiguous: bool) -> Result<(), Refusal> {
    let refuse = |status, why| Err(Box::new(respond::error_and_close(status, why)));
    if ambiguous {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the request has both Content-Length and Transfer-Encoding",
        );
    }
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "load balancers do not support the methods TRACE and CONNECT",
        );
    }
    let line = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    if line > MAX_LINE {
        return refuse(
            StatusCode::URI_TOO_LONG,
            "the request line is longer than 16 KiB",
        );
    }
    if request
        .headers()
        .values()
        .any(|value| value.len() > MAX_LINE)
    {
        return refuse(StatusCode::BAD_REQUEST, "a header is longer than 16 KiB");
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                "the request has more than one Host header",
            );
        }
        (None, None) if request.version() == Version::HTTP_11 => {
            return refuse(StatusCode::BAD_REQUEST, "the request has no Host header");
        }
        _ => {}
    }
    // RFC 9112 §3.2.2: in the absolute form, the address and not the Host header says the host.
    if let Some(authority) = request.uri().authority() {
        let Ok(host) = HeaderValue::try_from(authority.as_str()) else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "the request's address has no valid host",
            );
        };
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let Ok(uri) = path.parse::<Uri>() else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "the request's address has no valid path",
            );
        };
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = uri;
    }
    Ok(())
}

fn no_targets(group: &Group) -> Refusal {
    Box::new(respond::error(
        StatusCode::SERVICE_UNAVAILABLE,
        &format!(
            "the target group {} has no registered targets in use",
            group.name
        ),
    ))
}

fn unconnected(target: &Destination, error: &io::Error) -> Refusal {
    let status = match error.kind() {
        io::ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let why = format!("no connection to the target at {}: {error}", target.addr);
    Box::new(respond::error(status, &why))
}

fn failed(target: &Destination, failure: &Failure) -> Refusal {
    let addr = target.addr;
    Box::new(match failure {
        Failure::TimedOut => respond::error(
            StatusCode::GATEWAY_TIMEOUT,
            &format!("the target at {addr} did not respond before the idle timeout"),
        ),
        Failure::ClientStalled => respond::error_and_close(
            StatusCode::REQUEST_TIMEOUT,
            "the request's body did not come before the idle timeout",
        ),
        Failure::Broken(Some(error)) => respond::error(
            StatusCode::BAD_GATEWAY,
            &format!("the target at {addr} gave no valid response: {error}"),
        ),
        Failure::Broken(None) | Failure::Unsent(_) => respond::error(
            StatusCode::BAD_GATEWAY,
            &format!("the target at {addr} closed the connection without a response"),
        ),
    })
}
