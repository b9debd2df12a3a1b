//! The error responses of the balancer itself.
//!
//! Source for the error codes: "Troubleshoot your Application Load Balancers", section "The load
//! balancer generates an HTTP error".

use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SERVER};
use hyper::{Response, StatusCode};

use super::response_body::ResponseBody;

const NAME: HeaderValue = HeaderValue::from_static("landfall-lb");

/// An error page with a sentence about the reason.
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

/// An error after which the connection closes, because the start of the next request is unknown.
pub(super) fn error_and_close(status: StatusCode, why: &str) -> Response<ResponseBody> {
    let mut response = error(status, why);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

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
