//! Converts a failed SDK call to an error that the engine can act on and a user can understand.

use std::error::Error as StdError;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use landfall_provider::{Error, ErrorKind, Left};

use crate::code;
use crate::visibility::not_visible;

/// The maximum number of characters shown of an answer that is not AWS's own.
const SHOWN: usize = 200;

/// EC2 appends hundreds of encoded characters to a refusal, which only STS can decode, for callers
/// with permission.
///
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html>
const ENCODED: &str = "Encoded authorization failure message:";

/// For `map_err`: describes a failed call of this IAM action (`ec2:CreateVpc`).
///
/// ```ignore
/// client.create_vpc().send().await.map_err(during("ec2:CreateVpc"))?
/// ```
pub fn during<E>(action: &'static str) -> impl FnOnce(SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    move |error| tell(action, error)
}

fn tell<E>(action: &'static str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let meta = context.err().meta();
            match meta.code() {
                Some(code) => service(action, code, meta.message().unwrap_or_default(), status),
                None => foreign(action, status, context.raw()),
            }
        }
        SdkError::ResponseError(context) => {
            foreign(action, context.raw().status().as_u16(), context.raw())
        }
        SdkError::TimeoutError(_) => Error::new(
            ErrorKind::Timeout,
            format_args!("{action} was not answered in time"),
        )
        .left(lost(action))
        .caused_by(error),
        SdkError::DispatchFailure(ref failure) => {
            let connection = failure.is_io().then(|| deepest(&error));
            Error::new(
                ErrorKind::Unavailable,
                format_args!("{action} did not get through to AWS"),
            )
            .left(lost(action))
            .hint("check the network, the region, and AWS_ENDPOINT_URL if it is set")
            .caused_by(connection.map_or_else(|| innermost(error), Into::into))
        }
        // The request was never sent.
        _ => Error::new(
            ErrorKind::Invalid,
            format_args!("{action} could not be asked"),
        )
        .caused_by(innermost(error)),
    }
}

/// An error in the form that AWS documents.
fn service(action: &str, code: &str, message: &str, status: u16) -> Error {
    let kind = code::kind(code, message, status);
    let shows_within = not_visible(code, message).unwrap_or_default();
    let (message, encoded) = match message.split_once(ENCODED) {
        Some((message, encoded)) => (message.trim_end(), Some(encoded.trim())),
        None => (message, None),
    };
    let error =
        Error::new(kind, format_args!("{action}: {message} ({code})")).passes_within(shows_within);
    let error = match encoded {
        Some(encoded) => error.details([format!(
            "aws sts decode-authorization-message --encoded-message {encoded}"
        )]),
        None => error,
    };
    let error = if status >= 500 && kind != ErrorKind::Throttled {
        error.left(lost(action))
    } else {
        error
    };
    match hint(refused(message).unwrap_or(action), code, kind) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The denied action: most often the call's own, sometimes another action that the call needs.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
fn refused(message: &str) -> Option<&str> {
    let (_, named) = message.split_once("is not authorized to perform: ")?;
    named.split_whitespace().next()
}

fn hint(action: &str, code: &str, kind: ErrorKind) -> Option<String> {
    Some(match (kind, code) {
        (ErrorKind::Denied, "ExpiredToken" | "ExpiredTokenException" | "RequestExpired") => {
            "the credentials have expired: sign in again (aws sso login), or renew them".to_owned()
        }
        (
            ErrorKind::Denied,
            "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "AuthFailure"
            | "InvalidSignatureException",
        ) => "AWS does not know these credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, and that the region is enabled for the account".to_owned(),
        (ErrorKind::Denied, "OperationNotPermitted" | "OptInRequired") => return None,
        (ErrorKind::Denied, _) => format!(
            "allow {action} to these credentials: `landfall iam-policy` prints the least that a deploy needs"
        ),
        (ErrorKind::Limit, "InsufficientInstanceCapacity") => {
            "AWS has no free instance of this type in this zone: try again later, or use another instance type".to_owned()
        }
        (ErrorKind::Limit, _) => {
            "ask for more in the Service Quotas console, or free what is not needed".to_owned()
        }
        _ => return None,
    })
}

/// An answer that is not in AWS's format: a proxy's page, an emulator's trace.
fn foreign(action: &str, status: u16, answer: &HttpResponse) -> Error {
    let body = String::from_utf8_lossy(answer.body().bytes().unwrap_or_default());
    let start: String = body.trim().chars().take(SHOWN).collect();
    let what = if start.is_empty() {
        "nothing".to_owned()
    } else {
        start
    };
    Error::new(
        code::kind("", "", status),
        format_args!("{action} was answered with status {status} and no error code"),
    )
    .left(lost(action))
    .hint("the response did not come from AWS: check AWS_ENDPOINT_URL and proxies")
    .details([what])
}

/// The state that a call with a lost answer may leave behind: only read calls certainly leave
/// nothing.
fn lost(action: &str) -> Left {
    let verb = action.split(':').next_back().unwrap_or(action);
    let reads = ["Describe", "Get", "List", "BatchGet", "BatchCheck"];
    if reads.iter().any(|read| verb.starts_with(read)) {
        Left::Nothing
    } else {
        Left::Unknown
    }
}

/// The SDK wraps a failure in layers that only report a failure; the innermost layers hold the
/// reason.
fn innermost<E: StdError + Send + Sync + 'static>(
    error: SdkError<E, HttpResponse>,
) -> Box<dyn StdError + Send + Sync> {
    match error.into_source() {
        Ok(source) => source,
        Err(error) => Box::new(error),
    }
}

/// The cause of a failed connection: the layers above it only report that a client, a connection or
/// a lookup failed.
fn deepest(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_action_that_has_to_be_allowed() {
        let needs_besides = "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/ana \
                             is not authorized to perform: ec2:CreateTags on resource: \
                             arn:aws:ec2:eu-central-1:123456789012:vpc/* because no identity-based policy allows the \
                             ec2:CreateTags action. Encoded authorization failure message: 0f0f";
        for (message, action) in [
            (needs_besides, "ec2:CreateTags"),
            (
                "You are not authorized to perform this operation.",
                "ec2:CreateVpc",
            ),
        ] {
            let error = service("ec2:CreateVpc", "UnauthorizedOperation", message, 403);
            assert_eq!(error.kind(), ErrorKind::Denied);
            let hint = error.hint_text().unwrap();
            assert!(
                hint.starts_with(&format!("allow {action} to these")),
                "{hint}"
            );
        }
    }
}
