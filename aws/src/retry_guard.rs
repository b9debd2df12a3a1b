//! The retry guard: a create without an idempotency token is not retried blindly.
//!
//! The SDK retries a call without an answer. For most calls that is harmless; a second CreateVpc
//! creates a second VPC.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextMut, FinalizerInterceptorContextMut,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::retry::RetryConfig;

/// For clients of services with form requests (EC2, Elastic Load Balancing, Auto Scaling, IAM): no
/// call is retried after its answer was lost, unless it only reads or carries an idempotency token;
/// [`created_or_found`](crate::created_or_found) then looks. Refused calls (throttled, above all)
/// are retried as usual.
///
/// ```ignore
/// aws.client(|config| Client::from_conf(Builder::from(config).interceptor(NonIdempotentRetryGuard).build()))
/// ```
#[derive(Debug, Clone, Copy)]
pub struct NonIdempotentRetryGuard;

/// Whether the current call may be retried.
#[derive(Debug)]
struct Repeatable(bool);

impl Storable for Repeatable {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for NonIdempotentRetryGuard {
    fn name(&self) -> &'static str {
        "not twice"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The request's body is not available after it is sent.
        let form = context.request().body().bytes().unwrap_or_default();
        let may = repeatable(&String::from_utf8_lossy(form));
        config.interceptor_state().store_put(Repeatable(may));
        Ok(())
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let refused = context.response().is_some_and(|answer| {
            let body = String::from_utf8_lossy(answer.body().bytes().unwrap_or_default());
            answer.status().as_u16() < 500
                || body.contains("RequestLimitExceeded")
                || body.contains("Throttl")
        });
        let may = config.load::<Repeatable>().is_some_and(|may| may.0);
        if !refused && !may {
            config
                .interceptor_state()
                .store_put(RetryConfig::disabled());
        }
        Ok(())
    }
}

/// Whether a form request may be executed twice with the effect of one.
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
            // A value that looks like a field is not a field.
            ("Action=CreateVpc&Tag=ClientToken", false),
            ("", false),
        ] {
            assert_eq!(repeatable(form), may, "{form}");
        }
    }
}
