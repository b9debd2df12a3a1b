//! Preflight checks of a plan's images on AWS.

use async_trait::async_trait;
use landfall_aws::{Aws, Check};
use landfall_provider::{Action, Error, Plan, Result, kind};
use serde::Deserialize as _;

use super::image_builder;
use crate::Image;

/// Checks that the images of a plan can be built here, before anything is created that would wait
/// for them.
#[must_use]
pub fn check() -> Box<dyn Check> {
    Box::new(Buildable)
}

struct Buildable;

#[async_trait]
impl Check for Buildable {
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        let mut findings = Vec::new();
        for step in plan
            .steps
            .iter()
            .filter(|step| step.key.kind == kind::IMAGE)
        {
            let Action::Create { desired, .. } = &step.action else {
                continue;
            };
            let Ok(image) = Image::deserialize(desired) else {
                continue;
            };
            let checked = image_builder(aws)?.check(&step.key.name, &image).await;
            findings.extend(
                checked
                    .err()
                    .map(|error| error.doing("creating", &step.key)),
            );
        }
        Ok(findings)
    }
}
