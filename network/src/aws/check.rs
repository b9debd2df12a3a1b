//! What stands against a network on AWS, before anything of it is made.

use async_trait::async_trait;
use landfall_aws::{Aws, Check};
use landfall_provider::{Error, Plan, Result};

/// The check of this crate's kinds.
pub fn check() -> Box<dyn Check> {
    Box::new(Network)
}

struct Network;

#[async_trait]
impl Check for Network {
    async fn check(&self, _aws: &Aws, _plan: &Plan) -> Result<Vec<Error>> {
        Ok(Vec::new())
    }
}
