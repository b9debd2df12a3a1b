//! One request: checked, routed and sent to a target, and its response sent back.

use std::future::Future;
use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use super::fault::Fault;
use super::head::is_host;
use super::headers::{self, Forwarded};
use super::meter::{Meter, Phase};
use super::request_body::RequestBody;
use super::respond;
use super::response_body::{ResponseBody, Streaming};
use super::room::Seat;
use super::table::{Group, InFlight, Listener};
use super::tunnel::{self, TunnelClient};
use super::upstream::{Failure, Upstream};
use super::worker::Worker;
use landfall_kernel::accept::is_exhaustion;

/// The part of a client connection that its requests use.
pub(super) struct Front {
    pub(super) worker: Arc<Worker>,
    pub(super) meter: Arc<Meter>,
    pub(super) forwarded: Forwarded,
    /// The place of the connection; a tunnel keeps it.
    pub(super) seat: Arc<Seat>,
}

/// A request in the form for a target.
struct RoutedRequest {
    group: Arc<Group>,
    request: Request<RequestBody>,
    /// The client's side of a change of protocol, if the client asks for one.
    upgrade: Option<OnUpgrade>,
}

type Reply = Response<ResponseBody>;

/// A response of the balancer itself; boxed because it is rare.
type Refusal = Box<Reply>;

impl Front {
    /// Serves one request. Never fails: an error becomes an error response.
    ///
    /// The work that needs no waiting is done before the future exists. That keeps the future small, which hyper
    /// moves for each request.
    pub(super) fn serve(
        self: Arc<Self>,
        listener: Option<&Listener>,
        request: Request<Incoming>,
        fault: Option<Fault>,
    ) -> impl Future<Output = Reply> + use<> {
        let routed = match fault {
            Some(fault) => Err(Box::new(respond::error_and_close(
                fault.status(),
                fault.reason(),
            ))),
            None => self.route(listener, request),
        };
        async move {
            let reply = match routed {
                Ok(routed) => self.forward(routed).await,
                Err(refusal) => *refusal,
            };
            self.meter.set_phase(match reply.body() {
                ResponseBody::Own(_) => Phase::Request,
                ResponseBody::Stream(_) => Phase::Body,
            });
            reply
        }
    }

    fn route(
        &self,
        listener: Option<&Listener>,
        mut request: Request<Incoming>,
    ) -> Result<RoutedRequest, Refusal> {
        let attributes = &self.worker.shared.attributes;
        check(&mut request, &attributes.dns_name)?;
        let Some(listener) = listener else {
            // The listener was removed while this connection was open.
            return Err(Box::new(respond::error_and_close(
                StatusCode::SERVICE_UNAVAILABLE,
                "the balancer no longer listens on this port",
            )));
        };
        let host = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("");
        let group = Arc::clone(listener.route(host, request.uri().path()));
        // RFC 9110 §7.8: a server ignores an Upgrade in an HTTP/1.0 request.
        let may_upgrade = request.version() == Version::HTTP_11;
        let upgrade = headers::prepare_request(
            request.headers_mut(),
            &self.forwarded,
            attributes.drop_invalid_header_fields,
        );
        let upgrade = upgrade
            .filter(|protocol| may_upgrade && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"));
        *request.version_mut() = Version::HTTP_11;
        let upgrade = upgrade.map(|protocol| {
            headers::set_upgrade(request.headers_mut(), protocol);
            hyper::upgrade::on(&mut request)
        });
        Ok(RoutedRequest {
            group,
            request: request.map(|incoming| RequestBody::new(incoming, Arc::clone(&self.meter))),
            upgrade,
        })
    }

    async fn forward(&self, routed: RoutedRequest) -> Reply {
        let RoutedRequest {
            group,
            request,
            upgrade,
        } = routed;
        let (mut response, upstream, in_flight) = match self.send(group, request).await {
            Ok(sent) => sent,
            Err(refusal) => return *refusal,
        };
        let Ok(protocol) = headers::prepare_response(response.headers_mut()) else {
            return respond::error(
                StatusCode::BAD_GATEWAY,
                "the target's response has a Transfer-Encoding other than chunked",
            );
        };
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(upgrade), Some(protocol)) = (upgrade, protocol) else {
                return respond::error(
                    StatusCode::BAD_GATEWAY,
                    "the target changed to a protocol that the client did not ask for",
                );
            };
            headers::set_upgrade(response.headers_mut(), protocol);
            let client = TunnelClient {
                upgrade,
                meter: Arc::clone(&self.meter),
                seat: Arc::clone(&self.seat),
            };
            tunnel::start(&self.worker, client, &mut response, upstream, in_flight);
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
    /// A request is retried only if none of its bytes has been sent. If an idle connection is closed, the balancer
    /// connects to its target again. If a target refuses that has accepted connections before, it has just stopped,
    /// and the next target gets the request. A target that refuses its first connection results in a 502, as on AWS.
    async fn send(
        &self,
        mut group: Arc<Group>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Upstream, InFlight), Refusal> {
        let attributes = &self.worker.shared.attributes;
        if !group.routable.is_empty() {
            group.count();
        }
        let mut attempts = group.routable.len().min(3);
        loop {
            let Some(target) = group.next() else {
                return Err(no_targets(&group));
            };
            let Some(in_flight) = InFlight::enter(target) else {
                // The target was deregistered after this connection had read the table.
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
                    Err(failure) => return Err(failed(&self.meter, &failure)),
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
                Err(error) => return Err(unconnected(&error)),
            };
            return match upstream.exchange(request, &self.meter).await {
                Ok(response) => Ok((response, upstream, in_flight)),
                Err(failure) => Err(failed(&self.meter, &failure)),
            };
        }
    }
}

/// Refuses requests that no target should receive, and normalizes the rest. [`super::head::scan`] has already refused
/// requests with faulty bytes in their head.
fn check(request: &mut Request<Incoming>, dns_name: &str) -> Result<(), Refusal> {
    let refuse = |status, why| Err(Box::new(respond::error_and_close(status, why)));
    let bad = |why| refuse(StatusCode::BAD_REQUEST, why);
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "load balancers do not support the methods TRACE and CONNECT",
        );
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return bad("the request has more than one Host header"),
        (Some(host), None) if !is_host(host.as_bytes()) => {
            return bad(
                "the request's Host header is not a host name or address, with or without a port",
            );
        }
        (None, None) if request.version() == Version::HTTP_11 => {
            return bad("the request has no Host header");
        }
        (None, None) => {
            // The target gets HTTP/1.1, which requires a Host.
            if let Ok(host) = HeaderValue::try_from(dns_name) {
                request.headers_mut().insert(HOST, host);
            }
        }
        (Some(_), None) => {}
    }
    // RFC 9112 §3.2.2: in the absolute form, the address determines the host, not the Host header.
    if let Some(authority) = request.uri().authority() {
        if !is_host(authority.as_str().as_bytes()) {
            return bad(
                "the host in the request's target is not a host name or address, with or without a port",
            );
        }
        let Ok(host) = HeaderValue::try_from(authority.as_str()) else {
            return bad("the request's target has no valid host");
        };
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let Ok(uri) = path.parse::<Uri>() else {
            return bad("the request's target has no valid path");
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

/// The page contains no address, because clients outside of the network see it.
fn unconnected(error: &io::Error) -> Refusal {
    if is_exhaustion(error) {
        return Box::new(respond::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "the balancer has no file descriptors or memory left for a connection to a target",
        ));
    }
    let (status, why) = match error.kind() {
        io::ErrorKind::TimedOut => (
            StatusCode::GATEWAY_TIMEOUT,
            "the target did not accept a connection in time",
        ),
        io::ErrorKind::ConnectionRefused => (
            StatusCode::BAD_GATEWAY,
            "the target refused the connection: Connection refused",
        ),
        _ => (
            StatusCode::BAD_GATEWAY,
            "no connection to the target could be made",
        ),
    };
    Box::new(respond::error(status, why))
}

fn failed(client: &Meter, failure: &Failure) -> Refusal {
    if client.body_failed() {
        return Box::new(respond::error_and_close(
            StatusCode::BAD_REQUEST,
            "the request's body ended early or is not framed as its head says",
        ));
    }
    Box::new(match failure {
        Failure::TimedOut => respond::error(
            StatusCode::GATEWAY_TIMEOUT,
            "the target did not respond before the idle timeout",
        ),
        Failure::ClientStalled => respond::error_and_close(
            StatusCode::REQUEST_TIMEOUT,
            "the request's body did not come before the idle timeout",
        ),
        Failure::Interim => respond::error(
            StatusCode::BAD_GATEWAY,
            "the target sent interim responses (1xx) and no final one",
        ),
        Failure::InvalidResponse(Some(error)) => respond::error(
            StatusCode::BAD_GATEWAY,
            &format!("the target gave no valid response: {error}"),
        ),
        Failure::InvalidResponse(None) | Failure::Unsent(_) => respond::error(
            StatusCode::BAD_GATEWAY,
            "the target closed the connection without a response",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function of four arguments returns.
    fn size_of_result<A, B, C, D, R>(_: impl Fn(A, B, C, D) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn future_of_a_request_is_small_enough_to_move() {
        let size = size_of_result(
            |front: Arc<Front>, listener: Option<&'static Listener>, request, fault| {
                front.serve(listener, request, fault)
            },
        );
        assert!(size <= 2560, "{size}");
    }
}
