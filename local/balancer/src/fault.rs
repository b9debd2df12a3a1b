//! The reasons for which the balancer refuses a request, before any target sees it.

use hyper::StatusCode;

/// A fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    BareLineFeed = 1,
    TwoFramings,
    LongLine,
    LongField,
    LongHead,
    ManyFields,
    RequestLine,
    TargetControl,
    TargetFragment,
    FoldedField,
    FieldName,
    FieldValue,
    SlowHead,
    ChunkedTwice,
}

const ALL: [Fault; 14] = [
    Fault::BareLineFeed,
    Fault::TwoFramings,
    Fault::LongLine,
    Fault::LongField,
    Fault::LongHead,
    Fault::ManyFields,
    Fault::RequestLine,
    Fault::TargetControl,
    Fault::TargetFragment,
    Fault::FoldedField,
    Fault::FieldName,
    Fault::FieldValue,
    Fault::SlowHead,
    Fault::ChunkedTwice,
];

impl Fault {
    /// The fault with this number, the value of `fault as u8`.
    pub(super) fn of(number: u8) -> Option<Self> {
        ALL.into_iter().find(|fault| *fault as u8 == number)
    }

    /// The status of the response.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::LongLine => StatusCode::URI_TOO_LONG,
            Self::SlowHead => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A sentence for the error page.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of the request's head ends with LF alone instead of CRLF",
            Self::TwoFramings => "the request has both Content-Length and Transfer-Encoding",
            Self::LongLine => "the request line is longer than 16 KiB",
            Self::LongField => "a header is longer than 16 KiB",
            Self::LongHead => "the request's head is longer than 64 KiB",
            Self::ManyFields => "the request has more than 2000 header fields",
            Self::RequestLine => {
                "the request line is not a method, a target and HTTP/1.1 or HTTP/1.0, with one space between them"
            }
            Self::TargetControl => {
                "the request's target has a space or a control character; write it percent-encoded"
            }
            Self::TargetFragment => "the request's target has a #; write it as %23",
            Self::FoldedField => "a header field goes on in a second line",
            Self::FieldName => {
                "a header field has no name, or a name with a space or another character that names cannot have"
            }
            Self::FieldValue => "the value of a header field has a control character",
            Self::SlowHead => "the request's head did not come in time",
            Self::ChunkedTwice => "the request's Transfer-Encoding names chunked more than once",
        }
    }
}
