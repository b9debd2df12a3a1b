//! What a provider can say against a plan before anything of it is done.

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::plan::Plan;

/// A provider that looks at a plan before it is carried out.
#[async_trait]
pub trait Preflight: Send + Sync {
    /// Everything that stands against the plan, all of it at once; nothing is changed by looking.
    ///
    /// # Errors
    /// When the looking itself failed.
    async fn preflight(&self, plan: &Plan) -> Result<Vec<Error>>;
}
