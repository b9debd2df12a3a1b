//! Chooses the machine image of an instance type: the newest Amazon Linux 2023 of its architecture.
//!
//! Public parameters name it:
//! <https://docs.aws.amazon.com/linux/al2023/ug/ec2.html#launch-via-aws-cli>. Each version of a
//! launch template contains the image id instead of `resolve:ssm:…`, so that all instances of a
//! version are identical, and because an instance refresh cannot roll back to a template that
//! resolves a parameter:
//! <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RollbackInstanceRefresh.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_ec2::types::{ArchitectureType, InstanceType};
use landfall_aws::{Aws, during, lacks};
use landfall_provider::{Error, ErrorKind, Result};

use super::ec2;
use tokio::sync::Mutex;

const PARAMETER: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-";

/// A processor architecture, as in public parameters and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Architecture {
    X86_64,
    Arm64,
}

impl Architecture {
    /// The name in AWS.
    fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name in a container image's platform.
    pub(super) fn platform(self) -> &'static str {
        match self {
            Self::X86_64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
        }
    }
}

/// The session's cache; types keep their architecture, and one deploy launches all instances from
/// the same images.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Facts>>);

#[derive(Default)]
struct Facts {
    /// `None` for a type that EC2 does not have.
    types: BTreeMap<String, Option<Architecture>>,
    images: BTreeMap<Architecture, String>,
}

/// The id of the image for instances of this type.
pub(super) async fn image_for(aws: &Aws, instance_type: &str) -> Result<String> {
    let known = architectures(aws, BTreeSet::from([instance_type])).await?;
    let architecture = known.get(instance_type).copied().flatten().ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format_args!(
                "{} has no instance type {instance_type} that runs Linux on x86_64 or arm64",
                aws.region()
            ),
        )
        .hint("`aws ec2 describe-instance-types` lists what the region has")
    })?;
    // Held during the call, so that only one of several concurrent callers makes it.
    let Known(facts) = aws.client(|_| Known::default());
    let mut facts = facts.lock().await;
    if let Some(image) = facts.images.get(&architecture) {
        return Ok(image.clone());
    }
    let name = format!("{PARAMETER}{}", architecture.name());
    let answer = aws
        .client(aws_sdk_ssm::Client::new)
        .get_parameter()
        .name(&name)
        .send()
        .await
        .map_err(during("ssm:GetParameter"))?;
    let image = answer
        .parameter()
        .and_then(|parameter| parameter.value())
        .ok_or_else(|| lacks("ssm:GetParameter", "a value"))?;
    facts.images.insert(architecture, image.to_owned());
    Ok(image.to_owned())
}

/// The architectures of these types; `None` for types that EC2 does not have in this region.
pub(super) async fn architectures(
    aws: &Aws,
    types: BTreeSet<&str>,
) -> Result<BTreeMap<String, Option<Architecture>>> {
    let Known(facts) = aws.client(|_| Known::default());
    let mut facts = facts.lock().await;
    let asked: Vec<&str> = types
        .iter()
        .copied()
        .filter(|one| !facts.types.contains_key(*one))
        .collect();
    if !asked.is_empty() {
        let found = described(aws, &asked).await?;
        for one in asked {
            facts.types.insert(one.to_owned(), found.get(one).copied());
        }
    }
    Ok(types
        .into_iter()
        .map(|one| (one.to_owned(), facts.types.get(one).copied().flatten()))
        .collect())
}

/// Queries by a filter and not by name: an unknown name would be an error for all types.
async fn described(aws: &Aws, types: &[&str]) -> Result<BTreeMap<String, Architecture>> {
    let mut pages = ec2(aws)
        .describe_instance_types()
        .filters(
            aws_sdk_ec2::types::Filter::builder()
                .name("instance-type")
                .set_values(Some(types.iter().map(ToString::to_string).collect()))
                .build(),
        )
        .into_paginator()
        .send();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(during("ec2:DescribeInstanceTypes"))?;
        for one in page.instance_types() {
            let supported = one
                .processor_info()
                .map(|processor| processor.supported_architectures())
                .unwrap_or_default();
            let architecture = if supported.contains(&ArchitectureType::X8664) {
                Architecture::X86_64
            } else if supported.contains(&ArchitectureType::Arm64) {
                Architecture::Arm64
            } else {
                continue;
            };
            if let Some(name) = one.instance_type().map(InstanceType::as_str) {
                found.insert(name.to_owned(), architecture);
            }
        }
    }
    Ok(found)
}
