//! Which of the places that a provider stands for this one is.

use async_trait::async_trait;

use crate::error::Result;

/// A provider that can say which account, region or machine it works in.
#[async_trait]
pub trait ProviderIdentity: Send + Sync {
    /// The place in a few words, the same whenever it is the same place and another one otherwise:
    /// `aws, account 123456789012, ap-south-1`. A plan that was saved is carried out where it was made.
    ///
    /// # Errors
    /// When it cannot be found out, such as without credentials.
    async fn provider_identity(&self) -> Result<String>;
}
