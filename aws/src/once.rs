//! Creating what has no idempotency token is not repeated blindly.
//!
//! The SDK repeats a call whose answer did not come. For most that is harmless; a second CreateVpc makes a
//! second VPC.

use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{
    ClassifyRetry, RetryAction, RetryClassifierPriority,
};
/// For the client of a service with forms (EC2, Elastic Load Balancing, Auto Scaling, IAM): no call is repeated after its answer was lost, unless it only reads or carries a token that
/// AWS knows it by; [`created_or_found`](crate::created_or_found) then looks. Calls that were refused (throttled, above all) are repeated as ever.
///
/// ```ignore
/// aws.client(|config| Client::from_conf(Builder::from(config).retry_classifier(NotTwice).build()))
/// ```
#[derive(Debug, Clone, Copy)]
pub struct NotTwice;

impl ClassifyRetry for NotTwice {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refused = context.response().is_some_and(|answer| {
            let body = String::from_utf8_lossy(answer.body().bytes().unwrap_or_default());
            answer.status().as_u16() < 500
                || body.contains("RequestLimitExceeded")
                || body.contains("Throttl")
        });
        let request = context.request().and_then(|request| request.body().bytes());
        let request = String::from_utf8_lossy(request.unwrap_or_default());
        if refused || repeatable(&request) {
            RetryAction::NoActionIndicated
        } else {
            RetryAction::RetryForbidden
        }
    }

    fn name(&self) -> &'static str {
        "not twice"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// Whether a request in the form may take effect twice and change nothing the second time.
fn repeatable(form: &str) -> bool {
    let mut fields = form.split('&').filter_map(|field| field.split_once('='));
    fields.any(|(name, value)| match name {
        "Action" => value.starts_with("Describe") || value.starts_with("Get"),
        "ClientToken" => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_or_has_a_token_may_be_repeated() {
        for (form, may) in [
            ("Action=DescribeVpcs&Version=2016-11-15", true),
            (
                "Action=CreateNatGateway&ClientToken=abc&SubnetId=subnet-1",
                true,
            ),
            ("Action=CreateVpc&CidrBlock=10.0.0.0%2F16", false),
            // A value that looks like a field is none.
            ("Action=CreateVpc&Tag=ClientToken", false),
            ("", false),
        ] {
            assert_eq!(repeatable(form), may, "{form}");
        }
    }
}
