//! The answers of the service.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Method, Request, Response, StatusCode};

use crate::identity::Identity;
use crate::page;

/// The maximum wait of `/wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The service, shared by all connections of its one thread.
#[derive(Debug)]
pub(crate) struct Service {
    identity: Identity,
    answered: Cell<u64>,
}

impl Service {
    /// A service without answered requests.
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            answered: Cell::new(0),
        }
    }

    /// Answers one request. Health checks are not counted: the number shows the arriving traffic.
    pub(crate) async fn answer<B>(
        &self,
        request: &Request<B>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path();
        if path != "/healthz" {
            self.answered.set(self.answered.get() + 1);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Ok(text(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain",
                "only GET\n".into(),
            ));
        }
        Ok(match path {
            "/" => text(
                StatusCode::OK,
                "text/html; charset=utf-8",
                page::render(&self.identity),
            ),
            "/whoami" => self.whoami(),
            "/wait" => {
                tokio::time::sleep(wait_for(request.uri().query())).await;
                self.whoami()
            }
            "/healthz" => text(StatusCode::OK, "text/plain", "ok\n".into()),
            _ => text(StatusCode::NOT_FOUND, "text/plain", "not found\n".into()),
        })
    }

    fn whoami(&self) -> Response<Full<Bytes>> {
        let json = self.identity.to_json(self.answered.get());
        text(StatusCode::OK, "application/json", json)
    }
}

/// The wait in `?ms=500`; a second without it.
fn wait_for(query: Option<&str>) -> Duration {
    query
        .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("ms=")))
        .and_then(|ms| ms.parse().ok())
        .map_or(Duration::from_secs(1), Duration::from_millis)
        .min(LONGEST_WAIT)
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    headers.insert(
        CACHE_CONTROL,
        hyper::header::HeaderValue::from_static("no-store"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_as_asked_up_to_the_longest() {
        assert_eq!(wait_for(Some("ms=250")), Duration::from_millis(250));
        assert_eq!(wait_for(Some("a=b&ms=5")), Duration::from_millis(5));
        assert_eq!(wait_for(Some("ms=99999999")), LONGEST_WAIT);
        assert_eq!(wait_for(Some("ms=soon")), Duration::from_secs(1));
        assert_eq!(wait_for(None), Duration::from_secs(1));
    }
}
