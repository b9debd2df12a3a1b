//! Maps AWS error codes to error kinds.
//!
//! Codes: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html> and the
//! error pages of each service. Their names follow patterns, with exceptions; exceptions come
//! first.

use landfall_provider::ErrorKind;

use crate::visibility::not_visible;

/// The error kind of a code and its message; `status` is the HTTP status of the answer.
pub(crate) fn kind(code: &str, message: &str, status: u16) -> ErrorKind {
    not_visible(code, message)
        .map(|_| ErrorKind::NotFound)
        .or_else(|| exact(code))
        .or_else(|| by_pattern(code))
        .unwrap_or(match status {
            401 | 403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            429 => ErrorKind::Throttled,
            400..=499 => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        })
}

fn exact(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown"
        | "PriorRequestNotComplete" => ErrorKind::Throttled,
        "DependencyViolation"
        | "DeleteConflict"
        | "ConcurrentModification"
        | "ResourceContention"
        | "IncorrectInstanceState"
        | "IncorrectState"
        | "PriorityInUse"
        | "ScalingActivityInProgress"
        | "InstanceRefreshInProgress" => ErrorKind::InUse,
        "InvalidSubnet.Conflict" | "Resource.AlreadyAssociated" => ErrorKind::AlreadyExists,
        "UnauthorizedOperation"
        | "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "RequestExpired"
        | "OptInRequired"
        | "OperationNotPermitted" => ErrorKind::Denied,
        "InsufficientInstanceCapacity" | "InsufficientFreeAddressesInSubnet" => ErrorKind::Limit,
        _ => return None,
    })
}

fn by_pattern(code: &str) -> Option<ErrorKind> {
    let has = |part: &str| code.contains(part);
    let kind = if has("Throttl") {
        ErrorKind::Throttled
    } else if has("AlreadyExists") || has("Duplicate") {
        ErrorKind::AlreadyExists
    } else if has("InUse") {
        ErrorKind::InUse
    } else if has("AccessDenied") || has("ExpiredToken") {
        ErrorKind::Denied
    } else if has("LimitExceeded") || code.starts_with("TooMany") {
        ErrorKind::Limit
    } else if has("Unavailable") || code.starts_with("Internal") {
        ErrorKind::Unavailable
    } else {
        return None;
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_their_services_document() {
        for (code, status, kind) in [
            ("InvalidVpcID.NotFound", 400, ErrorKind::NotFound),
            ("NatGatewayNotFound", 400, ErrorKind::NotFound),
            ("RepositoryNotFoundException", 400, ErrorKind::NotFound),
            ("NoSuchEntity", 404, ErrorKind::NotFound),
            ("InvalidGroup.Duplicate", 400, ErrorKind::AlreadyExists),
            ("DuplicateLoadBalancerName", 400, ErrorKind::AlreadyExists),
            ("ParameterAlreadyExists", 400, ErrorKind::AlreadyExists),
            ("EntityAlreadyExists", 409, ErrorKind::AlreadyExists),
            ("DependencyViolation", 400, ErrorKind::InUse),
            ("ResourceInUse", 400, ErrorKind::InUse),
            ("InvalidIPAddress.InUse", 400, ErrorKind::InUse),
            ("UnauthorizedOperation", 403, ErrorKind::Denied),
            ("AccessDeniedException", 400, ErrorKind::Denied),
            ("ExpiredTokenException", 400, ErrorKind::Denied),
            ("RequestLimitExceeded", 503, ErrorKind::Throttled),
            ("ThrottlingException", 400, ErrorKind::Throttled),
            ("VpcLimitExceeded", 400, ErrorKind::Limit),
            ("AddressLimitExceeded", 400, ErrorKind::Limit),
            ("TooManyLoadBalancers", 400, ErrorKind::Limit),
            ("InternalError", 500, ErrorKind::Unavailable),
            ("ServiceUnavailable", 503, ErrorKind::Unavailable),
            ("InvalidParameterValue", 400, ErrorKind::Invalid),
            ("", 500, ErrorKind::Unavailable),
            ("", 403, ErrorKind::Denied),
        ] {
            assert_eq!(super::kind(code, "", status), kind, "{code} {status}");
        }
    }
}
