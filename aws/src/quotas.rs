//! How much of something an account may have: who can be asked, and Service Quotas, which knows.

use async_trait::async_trait;

use crate::session::Aws;

/// Somebody who knows what an account may have. A crate of kinds asks through this, so that it brings no SDK but its
/// own services'.
#[async_trait]
pub trait Quotas: Send + Sync {
    /// How many the account may have of this, by the codes of Service Quotas (`vpc`, `L-F678F1CE`); `None` where it is
    /// not known, for whatever reason: a check that cannot look has nothing to say.
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
            // Nothing depends on it, so nobody waits for it.
            .config_override(
                config::Builder::new().retry_config(config::retry::RetryConfig::disabled()),
            )
            .send()
            .await
            .map_err(crate::call::during("servicequotas:GetServiceQuota"));
        let value = answer.ok()?.quota()?.value()?;
        // Quotas are whole numbers there, told as fractions.
        (value >= 0.0).then_some(value as usize)
    }
}
