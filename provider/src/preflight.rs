//! Preflight checks: a provider's objections to a plan before its first step.

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::plan::Plan;

/// A provider that checks a plan before it is applied.
#[async_trait]
pub trait Preflight: Send + Sync {
    /// Every objection to the plan, all at once. The check changes nothing.
    ///
    /// # Errors
    /// When the check itself failed.
    async fn preflight(&self, plan: &Plan) -> Result<Vec<Error>>;
}
