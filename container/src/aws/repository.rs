//! A repository in ECR: its tags identify the stack, and its name repeats that.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ecr::types::{
    ImageScanningConfiguration, ImageTagMutability, Repository as Found, Tag,
};
use futures::future::try_join_all;
use landfall_aws::{Aws, Owner, Singleflight, created_or_found, during, if_there, lacks, unless};
use landfall_provider::{
    Error, ErrorKind, Key, Live, Probe, Provider, RepositoryId, ResourceName, Result, StackName,
};
use serde_json::{Value, json};

use super::{client, name, prefix};
use crate::Repository;

#[async_trait]
impl Provider<Repository> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Repository>>> {
        let found = of_stack(self, stack).await?;
        let found = found.into_iter().map(|own| async move {
            let keep = keep(self, &own.repository).await?;
            Ok(Live {
                id: own.id,
                name: own.name,
                spec: Repository {
                    name: own.repository,
                    keep,
                },
                state: Probe::Usable(()),
            })
        });
        try_join_all(found).await
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &Repository,
    ) -> Result<RepositoryId> {
        let owner = Owner::new(stack, &key.name);
        let tags: std::result::Result<Vec<_>, _> = owner
            .tags()
            .into_iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect();
        let created = client(self)
            .create_repository()
            .repository_name(&desired.name)
            // A tag is the hash of an image's source: it never moves to another image.
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
        let found = async { Ok(own(self, &owner, desired).await?.map(Some)) };
        let uri = created_or_found(created, found).await?;
        set_keep(self, desired).await?;
        let uri = uri.ok_or_else(|| lacks("ecr:CreateRepository", "a URI"))?;
        let id = RepositoryId::from(uri);
        self.seen::<Repository>(&id, Probe::Usable(()));
        Ok(id)
    }

    async fn update(&self, _: &Live<Repository>, desired: &Repository) -> Result<()> {
        set_keep(self, desired).await
    }

    async fn probe(&self, id: &RepositoryId) -> Result<Probe<()>> {
        if let Some(state) = self.first_look::<Repository>(id) {
            return Ok(state);
        }
        let found = described(self, name(id.as_ref())).await?;
        Ok(found.map_or(Probe::Absent, |_| Probe::Usable(())))
    }

    /// Deletes the repository with all its images: they are useless without their stack, and ECR
    /// refuses to delete a repository with images.
    async fn delete(&self, live: &Live<Repository>) -> Result<()> {
        let deleted = client(self)
            .delete_repository()
            .repository_name(name(live.id.as_ref()))
            .force(true)
            .send()
            .await
            .map_err(during("ecr:DeleteRepository"));
        unless(ErrorKind::NotFound, deleted)?;
        self.seen::<Repository>(&live.id, Probe::Absent);
        Ok(())
    }
}

/// A repository of a stack.
#[derive(Debug, Clone)]
pub(super) struct Own {
    /// Its name in ECR: `digipay/web`.
    pub(super) repository: String,
    /// Its name in the stack: `web`.
    pub(super) name: ResourceName,
    /// Its address.
    pub(super) id: RepositoryId,
}

/// The repositories of a stack; concurrent callers share the answer.
///
/// ECR cannot filter by tag: the tags are read of repositories whose names have the stack's prefix.
/// Repositories of others may have it too.
pub(super) async fn of_stack(aws: &Aws, stack: &StackName) -> Result<Vec<Own>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Vec<Own>>>::default());
    let (aws, name) = (aws.clone(), stack.clone());
    singleflight
        .join(
            stack.as_str(),
            move || async move { survey(&aws, &name).await },
        )
        .await
}

async fn survey(aws: &Aws, stack: &StackName) -> Result<Vec<Own>> {
    let listed: Vec<Found> = client(aws)
        .describe_repositories()
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<_, _>>()
        .await
        .map_err(during("ecr:DescribeRepositories"))?;
    let prefix = prefix(stack);
    let begins = |found: &&Found| {
        found
            .repository_name()
            .is_some_and(|name| name.starts_with(&prefix))
    };
    let found = listed.iter().filter(begins).map(|found| async {
        let owner = owner(aws, found)
            .await?
            .filter(|owner| owner.stack == *stack);
        Ok(owner.and_then(|owner| {
            Some(Own {
                repository: found.repository_name.clone()?,
                name: owner.name,
                id: RepositoryId::from(found.repository_uri.clone()?),
            })
        }))
    });
    let found: Vec<Option<Own>> = try_join_all(found).await?;
    Ok(found.into_iter().flatten().collect())
}

/// The owner of a repository; `None` for a repository that is gone.
///
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListTagsForResource.html>
async fn owner(aws: &Aws, repository: &Found) -> Result<Option<Owner>> {
    let listed = client(aws)
        .list_tags_for_resource()
        .set_resource_arn(repository.repository_arn.clone())
        .send()
        .await
        .map_err(during("ecr:ListTagsForResource"));
    let tags = if_there(listed)?.and_then(|listed| listed.tags);
    let tags = tags.unwrap_or_default();
    Ok(Owner::of(tags.iter().map(|tag| (tag.key(), tag.value()))))
}

/// The address of the repository with this name, which must belong to this owner.
async fn own(aws: &Aws, wanted: &Owner, desired: &Repository) -> Result<Option<String>> {
    let Some(found) = described(aws, &desired.name).await? else {
        return Ok(None);
    };
    if owner(aws, &found).await?.as_ref() == Some(wanted) {
        return Ok(found.repository_uri);
    }
    let (stack, name) = (&wanted.stack, &wanted.name);
    Err(Error::new(
        ErrorKind::AlreadyExists,
        format_args!(
            "the repository {} exists, and its tags do not belong to this stack",
            desired.name
        ),
    )
    .hint(format_args!(
        "name the service otherwise, or delete that repository; if it is this stack's after all, restore its tags: \
         landfall:stack = {stack}, landfall:name = {name}"
    )))
}

async fn described(aws: &Aws, name: &str) -> Result<Option<Found>> {
    let asked = client(aws).describe_repositories().repository_names(name);
    let answer = asked
        .send()
        .await
        .map_err(during("ecr:DescribeRepositories"));
    let found = if_there(answer)?.and_then(|answer| answer.repositories);
    Ok(found.unwrap_or_default().into_iter().next())
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

async fn set_keep(aws: &Aws, desired: &Repository) -> Result<()> {
    client(aws)
        .put_lifecycle_policy()
        .repository_name(&desired.name)
        .lifecycle_policy_text(policy(desired.keep).to_string())
        .send()
        .await
        .map_err(during("ecr:PutLifecyclePolicy"))?;
    Ok(())
}

/// The number of images that it keeps; zero, which no spec has, without a rule or with a foreign
/// one.
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
