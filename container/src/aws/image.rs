//! An image in ECR: built here, pushed by digest, found by a tag that says what it was built from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_sdk_ecr::types::{ImageDetail, ImageIdentifier};
use futures::future::try_join_all;
use landfall_aws::{Aws, during, if_there, known};
use landfall_provider::{
    Error, ErrorKind, ImageId, Input, Key, Live, Probe, Provider, RepositoryId, ResourceName,
    Result, StackName,
};

use super::login::login;
use super::repository::{of_stack, resource_name};
use super::{client, name, workshop};
use crate::registry::push;
use crate::{BuilderChoice, ContextHash, Digest, Image, ImageOutput, Platform, Recipe};

#[async_trait]
impl Provider<Image> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Image>>> {
        let repositories = of_stack(self, stack).await?;
        let images = repositories.iter().map(|(name, id)| images(self, name, id));
        Ok(try_join_all(images).await?.into_iter().flatten().collect())
    }

    async fn create(&self, _: &StackName, key: &Key, want: &Image) -> Result<ImageId> {
        let repository = known(&want.repository)?;
        let workshop = workshop(self)?;
        // The login takes as long as it takes while the image is built.
        let (built, login) =
            futures::try_join!(workshop.make(key, want, name(repository)), login(self))?;
        let to = format!("{}/{}:{}", login.host, name(repository), tag(want));
        push(
            workshop.store(),
            &built.manifest_digest,
            &to,
            &login.credentials,
            &|line| workshop.tell(key, line),
        )
        .await
        .map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format_args!("the image was not pushed to {repository}"),
            )
            .caused_by(error)
        })?;
        Ok(ImageId::from(format!(
            "{repository}@{}",
            built.manifest_digest
        )))
    }

    async fn update(&self, live: &Live<Image>, _: &Image) -> Result<()> {
        Err(Error::new(
            ErrorKind::Invalid,
            format_args!("{}: an image does not change", live.id),
        ))
    }

    async fn probe(&self, id: &ImageId) -> Result<Probe<ImageOutput>> {
        let Some((repository, digest)) = id.as_ref().split_once('@') else {
            return Ok(Probe::Absent);
        };
        let wanted = ImageIdentifier::builder().image_digest(digest).build();
        let answer = client(self)
            .describe_images()
            .repository_name(name(repository))
            .image_ids(wanted)
            .send()
            .await
            .map_err(during("ecr:DescribeImages"));
        let found = if_there(answer)?.and_then(|answer| answer.image_details);
        let digest = found
            .unwrap_or_default()
            .first()
            .and_then(|detail| detail.image_digest()?.parse().ok());
        Ok(digest.map_or(Probe::Absent, |digest| {
            Probe::Usable(ImageOutput { digest })
        }))
    }

    async fn delete(&self, live: &Live<Image>) -> Result<()> {
        let Some((repository, digest)) = live.id.as_ref().split_once('@') else {
            return Ok(());
        };
        let unwanted = ImageIdentifier::builder().image_digest(digest).build();
        let deleted = client(self)
            .batch_delete_image()
            .repository_name(name(repository))
            .image_ids(unwanted)
            .send()
            .await
            .map_err(during("ecr:BatchDeleteImage"));
        if_there(deleted)?;
        Ok(())
    }
}

/// The tag of an image: what it was built from, and what for. A tag cannot hold the slash of a platform.
fn tag(image: &Image) -> String {
    format!(
        "{}.{}",
        image.source,
        image.platform.to_string().replace('/', "-")
    )
}

fn read_tag(tag: &str) -> Option<(ContextHash, Platform)> {
    let (source, platform) = tag.split_once('.')?;
    Some((
        source.parse().ok()?,
        platform.replace('-', "/").parse().ok()?,
    ))
}

/// The images of a repository that Landfall has pushed.
async fn images(aws: &Aws, repository: &str, id: &RepositoryId) -> Result<Vec<Live<Image>>> {
    let listed = client(aws)
        .describe_images()
        .repository_name(repository)
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<Vec<_>, _>>()
        .await
        .map_err(during("ecr:DescribeImages"));
    let listed = if_there(listed)?.unwrap_or_default();
    let Some(name) = resource_name(repository) else {
        return Ok(Vec::new());
    };
    Ok(listed
        .iter()
        .filter_map(|detail| live(detail, id, &name))
        .collect())
}

fn live(
    detail: &ImageDetail,
    repository: &RepositoryId,
    name: &ResourceName,
) -> Option<Live<Image>> {
    let digest: Digest = detail.image_digest()?.parse().ok()?;
    let (source, platform) = detail.image_tags().iter().find_map(|tag| read_tag(tag))?;
    Some(Live {
        id: ImageId::from(format!("{repository}@{digest}")),
        name: name.clone(),
        spec: Image {
            repository: Input::Known(repository.clone()),
            source,
            platform,
            // How it was made is not kept, and not compared.
            recipe: Recipe {
                context: PathBuf::new(),
                dockerfile: PathBuf::new(),
                args: BTreeMap::new(),
                target: None,
                builder: BuilderChoice::Auto,
            },
        },
        state: Probe::Usable(ImageOutput { digest }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_what_an_image_was_built_from_and_for() {
        let source: ContextHash = "0123456789abcdef".repeat(4).parse().unwrap();
        for platform in ["linux/amd64", "linux/arm64", "linux/arm/v7"] {
            let image = Image {
                repository: Input::Known(RepositoryId::from("digipay/web")),
                source: source.clone(),
                platform: platform.parse().unwrap(),
                recipe: Recipe {
                    context: PathBuf::new(),
                    dockerfile: PathBuf::new(),
                    args: BTreeMap::new(),
                    target: None,
                    builder: BuilderChoice::Auto,
                },
            };
            let tag = tag(&image);
            // <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
            assert!(tag.len() <= 128 && !tag.contains('/'), "{tag}");
            assert_eq!(read_tag(&tag), Some((source.clone(), image.platform)));
        }
        assert_eq!(read_tag("latest"), None);
    }
}
