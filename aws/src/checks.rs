//! What stands against a plan on AWS: the checks that the crates of kinds bring, all of them at once.

use async_trait::async_trait;
use futures::future::try_join_all;
use landfall_provider::{Error, Plan, Preflight, Result};

use crate::session::Aws;

/// A look at a plan before anything of it is done. Each crate of kinds has one; whoever opens the
/// session hands them over.
#[async_trait]
pub trait Check: Send + Sync {
    /// Everything that stands against the plan; reading only.
    ///
    /// # Errors
    /// When the looking itself failed.
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>>;
}

#[async_trait]
impl Preflight for Aws {
    async fn preflight(&self, plan: &Plan) -> Result<Vec<Error>> {
        let checks = self.checks().iter().map(|check| check.check(self, plan));
        Ok(try_join_all(checks).await?.into_iter().flatten().collect())
    }
}
