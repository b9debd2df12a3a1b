//! Answers of a scripted endpoint.

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde_json::Value;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body's type.
    pub content_type: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A successful answer in XML.
    #[must_use]
    pub fn xml(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            content_type: "text/xml".to_owned(),
            body: body.into(),
        }
    }

    /// A successful answer in JSON.
    #[must_use]
    pub fn json(body: &Value) -> Self {
        Self {
            status: 200,
            content_type: "application/x-amz-json-1.1".to_owned(),
            body: body.to_string(),
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        Response::builder()
            .status(self.status)
            .header("content-type", self.content_type)
            .body(Full::new(Bytes::from(self.body)))
            .unwrap_or_else(|_| {
                // A script with an invalid status.
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
                answer
            })
    }
}
