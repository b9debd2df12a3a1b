//! Account limits: the trait to ask for them, and its implementation by Service Quotas.

use async_trait::async_trait;

use crate::session::Aws;

/// A source of account limits. The crates of kinds use this trait, so that they need only the SDKs
/// of their own services.
#[async_trait]
pub trait Quotas: Send + Sync {
    /// The account's limit, by the codes of Service Quotas (`vpc`, `L-F678F1CE`); `None` where it
    /// is unknown, for any reason: a check without a limit reports nothing.
    async fn most(&self, aws: &Aws, service: &str, code: &str) -> Option<usize>;
}

/// Service Quotas itself.
#[cfg(feature = "quotas")]
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceQuotas;

/// <https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html>
#[cfg(feature = "quotas")]
#[async_trait]
impl Quotas for ServiceQuotas {
    async fn most(&self, aws: &Aws, service: &str, code: &str) -> Option<usize> {
        use aws_sdk_servicequotas::{Client, config};

        let answer = aws
            .client(Client::new)
            .get_service_quota()
            .service_code(service)
            .quota_code(code)
            .customize()
            // Nothing depends on the answer, so nothing waits for retries.
            .config_override(
                config::Builder::new().retry_config(config::retry::RetryConfig::disabled()),
            )
            .send()
            .await
            .map_err(crate::call::during("servicequotas:GetServiceQuota"));
        let value = answer.ok()?.quota()?.value()?;
        // Quotas are whole numbers, returned as floating-point numbers.
        (value >= 0.0).then_some(value as usize)
    }
}
