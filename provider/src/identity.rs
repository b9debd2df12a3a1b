//! The identity of a provider: its account, region or machine.

use async_trait::async_trait;

use crate::error::Result;

/// A provider that can report the account, region or machine in which it works.
#[async_trait]
pub trait ProviderIdentity: Send + Sync {
    /// The identity in a few words: equal for the same place, different for any other:
    /// `aws, account 123456789012, ap-south-1`. A saved plan can be applied only where it was made.
    ///
    /// # Errors
    /// When it cannot be determined, such as without credentials.
    async fn provider_identity(&self) -> Result<String>;
}
