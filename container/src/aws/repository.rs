//! A repository in ECR.

use async_trait::async_trait;
use aws_sdk_ecr::types::{ImageScanningConfiguration, ImageTagMutability, Tag};
use futures::future::try_join_all;
use landfall_aws::{Aws, Owner, created_or_found, during, if_there, lacks, unless};
use landfall_provider::{
    ErrorKind, Key, Live, Probe, Provider, RepositoryId, ResourceName, Result, StackName,
};
use serde_json::{Value, json};

use super::{client, name, prefix};
use crate::Repository;

#[async_trait]
impl Provider<Repository> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Repository>>> {
        let found = of_stack(self, stack).await?;
        let found = found.into_iter().map(|(name, id)| async move {
            let keep = keep(self, &name).await?;
            Ok(resource_name(&name).map(|resource| Live {
                id,
                name: resource,
                spec: Repository { name, keep },
                state: Probe::Usable(()),
            }))
        });
        Ok(try_join_all(found).await?.into_iter().flatten().collect())
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        want: &Repository,
    ) -> Result<RepositoryId> {
        let tags = Owner::new(stack, &key.name).tags().into_iter();
        let tags: std::result::Result<Vec<_>, _> = tags
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let created = client(self)
            .create_repository()
            .repository_name(&want.name)
            // A tag is what an image was built from: it never means another image.
            .image_tag_mutability(ImageTagMutability::Immutable)
            .image_scanning_configuration(
                ImageScanningConfiguration::builder()
                    .scan_on_push(true)
                    .build(),
            )
            .set_tags(Some(
                tags.map_err(|_| lacks("ecr:CreateRepository", "a tag's key"))?,
            ))
            .send()
            .await
            .map_err(during("ecr:CreateRepository"))
            .map(|answer| answer.repository.and_then(|made| made.repository_uri));
        let found = async { Ok(described(self, &want.name).await?.map(Some)) };
        let uri = created_or_found(created, found).await?;
        set_keep(self, want).await?;
        let uri = uri.ok_or_else(|| lacks("ecr:CreateRepository", "a URI"))?;
        Ok(RepositoryId::from(uri))
    }

    async fn update(&self, _: &Live<Repository>, want: &Repository) -> Result<()> {
        set_keep(self, want).await
    }

    async fn probe(&self, id: &RepositoryId) -> Result<Probe<()>> {
        let found = described(self, name(id.as_ref())).await?;
        Ok(found.map_or(Probe::Absent, |_| Probe::Usable(())))
    }

    /// With all its images: they are of no use without their stack, and a repository that holds some does not go.
    async fn delete(&self, live: &Live<Repository>) -> Result<()> {
        let deleted = client(self)
            .delete_repository()
            .repository_name(name(live.id.as_ref()))
            .force(true)
            .send()
            .await
            .map_err(during("ecr:DeleteRepository"));
        unless(ErrorKind::NotFound, deleted)
    }
}

/// The repositories of a stack: name and id.
pub(super) async fn of_stack(aws: &Aws, stack: &StackName) -> Result<Vec<(String, RepositoryId)>> {
    let listed: Vec<_> = client(aws)
        .describe_repositories()
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<_, _>>()
        .await
        .map_err(during("ecr:DescribeRepositories"))?;
    let prefix = prefix(stack);
    let found = listed.into_iter().filter_map(|repository| {
        let name = repository.repository_name?;
        let id = RepositoryId::from(repository.repository_uri?);
        name.starts_with(&prefix).then_some((name, id))
    });
    Ok(found.collect())
}

/// `web` of `digipay/web`: a stack's repositories are named after its resources.
pub(super) fn resource_name(name: &str) -> Option<ResourceName> {
    name.rsplit('/').next()?.parse().ok()
}

async fn described(aws: &Aws, name: &str) -> Result<Option<String>> {
    let asked = client(aws).describe_repositories().repository_names(name);
    let answer = asked
        .send()
        .await
        .map_err(during("ecr:DescribeRepositories"));
    let found = if_there(answer)?.and_then(|answer| answer.repositories);
    Ok(found
        .unwrap_or_default()
        .into_iter()
        .find_map(|repository| repository.repository_uri))
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>
fn policy(keep: u32) -> Value {
    json!({ "rules": [{
        "rulePriority": 1,
        "description": format!("Keep the last {keep} images"),
        "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": keep },
        "action": { "type": "expire" },
    }]})
}

async fn set_keep(aws: &Aws, want: &Repository) -> Result<()> {
    client(aws)
        .put_lifecycle_policy()
        .repository_name(&want.name)
        .lifecycle_policy_text(policy(want.keep).to_string())
        .send()
        .await
        .map_err(during("ecr:PutLifecyclePolicy"))?;
    Ok(())
}

/// How many images it keeps; zero, which no wish is, where no rule or another one says so.
async fn keep(aws: &Aws, name: &str) -> Result<u32> {
    let answer = client(aws)
        .get_lifecycle_policy()
        .repository_name(name)
        .send()
        .await
        .map_err(during("ecr:GetLifecyclePolicy"));
    let text = if_there(answer)?.and_then(|answer| answer.lifecycle_policy_text);
    let found: Value = serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default();
    let number = found["rules"][0]["selection"]["countNumber"].as_u64();
    let keep = number.and_then(|number| u32::try_from(number).ok());
    Ok(keep
        .filter(|keep| found == policy(*keep))
        .unwrap_or_default())
}
