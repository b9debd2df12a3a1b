//! Responses that the balancer makes itself: errors, redirects and fixed responses.
//!
//! Source for the error codes: "Troubleshoot your Application Load Balancers", section "The load
//! balancer generates an HTTP error".

use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, SERVER};
use hyper::{Response, StatusCode};

use super::body::ResponseBody;
use super::config::FixedResponse;

const NAME: HeaderValue = HeaderValue::from_static("landfall-lb");

/// An error with a sentence on what happened.
pub(super) fn error(status: StatusCode, why: &str) -> Response<ResponseBody> {
    let title = status.canonical_reason().unwrap_or("Error");
    let code = status.as_u16();
    let body = format!(
        "<html>\r\n<head><title>{code} {title}</title></head>\r\n<body>\r\n\
         <center><h1>{code} {title}</h1></center>\r\n<p>{}</p>\r\n</body>\r\n</html>\r\n",
        escape(why)
    );
    own(status, HeaderValue::from_static("text/html"), body.into())
}

/// An error after which the connection closes, because where the next request starts is unsure.
pub(super) fn error_and_close(status: StatusCode, why: &str) -> Response<ResponseBody> {
    let mut response = error(status, why);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A redirect to this address.
pub(super) fn redirect(permanent: bool, location: &str) -> Response<ResponseBody> {
    let status = if permanent {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::FOUND
    };
    match HeaderValue::try_from(location) {
        Ok(location) => {
            let mut response = error(status, "");
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => error(
            StatusCode::BAD_REQUEST,
            "the request's address cannot be redirected",
        ),
    }
}

/// The response of a listener's fixed-response action.
pub(super) fn fixed(fixed: &FixedResponse) -> Response<ResponseBody> {
    let media = HeaderValue::try_from(&fixed.content_type)
        .unwrap_or(HeaderValue::from_static("text/plain"));
    own(
        fixed.status,
        media,
        Bytes::copy_from_slice(fixed.body.as_bytes()),
    )
}

/// A whole response as bytes, for a client whose request never became one.
pub(super) const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    server: landfall-lb\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn own(status: StatusCode, media: HeaderValue, body: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Own(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(SERVER, NAME);
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
