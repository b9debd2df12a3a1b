//! An image in ECR: built here, pushed by digest, found by a tag with the hash of its source.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_sdk_ecr::types::builders::ImageIdentifierBuilder;
use aws_sdk_ecr::types::{ImageDetail, ImageIdentifier};
use futures::future::try_join_all;
use landfall_aws::{Aws, during, if_there, known};
use landfall_provider::{
    Error, ErrorKind, ImageId, Input, Key, Live, Probe, Provider, RepositoryId, ResourceName,
    Result, StackName,
};

use super::login::login;
use super::repository::{Own, of_stack};
use super::{client, image_builder, name};
use crate::registry::{Refusal, push, refusal};
use crate::{
    BuildSpec, BuilderChoice, ContextHash, Digest, Image, ImageOutput, Platform, PrebuildImage,
};

#[async_trait]
impl Provider<Image> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Image>>> {
        let repositories = of_stack(self, stack).await?;
        let images = repositories.iter().map(|own| images(self, own));
        Ok(try_join_all(images).await?.into_iter().flatten().collect())
    }

    async fn create(&self, _: &StackName, key: &Key, desired: &Image) -> Result<ImageId> {
        let repository = known(&desired.repository)?;
        let image_builder = image_builder(self)?;
        // The login runs concurrently with the build.
        let (built, login) = futures::try_join!(
            image_builder.make(key, desired, name(repository)),
            login(self)
        )?;
        let to = format!("{}/{}:{}", login.host, name(repository), tag(desired));
        let pushed = push(
            image_builder.store(),
            &built.manifest_digest,
            &to,
            &login.credentials,
            &|line| image_builder.tell(key, line),
        )
        .await
        .map_err(|error| not_pushed(repository, error));
        match pushed {
            Ok(()) => {
                let digest = built.manifest_digest;
                let id = ImageId::from(format!("{repository}@{digest}"));
                self.seen::<Image>(&id, Probe::Usable(ImageOutput { digest }));
                Ok(id)
            }
            Err(error) if error.kind() == ErrorKind::Denied => Err(error),
            // The last answer may have been lost, and a tag is not assigned twice.
            Err(error) => {
                let digest = tagged(self, repository, desired).await?.ok_or(error)?;
                Ok(ImageId::from(format!("{repository}@{digest}")))
            }
        }
    }

    async fn update(&self, live: &Live<Image>, _: &Image) -> Result<()> {
        Err(Error::new(
            ErrorKind::Invalid,
            format_args!("{}: an image does not change", live.id),
        ))
    }

    async fn probe(&self, id: &ImageId) -> Result<Probe<ImageOutput>> {
        if let Some(state) = self.first_look::<Image>(id) {
            return Ok(state);
        }
        let Some((repository, digest)) = id.as_ref().split_once('@') else {
            return Ok(Probe::Absent);
        };
        let wanted = ImageIdentifier::builder().image_digest(digest);
        let digest = digest_of(self, repository, wanted).await?;
        let digest = digest.and_then(|digest| digest.parse().ok());
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

#[async_trait]
impl PrebuildImage for Aws {
    async fn prebuild(&self, key: &Key, desired: &Image) -> Result<Digest> {
        let built = image_builder(self)?
            .make(key, desired, key.name.as_str())
            .await?;
        Ok(built.manifest_digest)
    }
}

/// The tag of an image: its source and its platform. A tag cannot contain the slash of a platform.
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

/// The reason why an image is not in its repository. A caller without permission gets the required
/// actions: the registry names them only in its message, and not in every case.
///
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html>
fn not_pushed(repository: &str, error: crate::Error) -> Error {
    let why = format!("the image was not pushed to {repository}");
    match refusal(&error) {
        None => Error::new(ErrorKind::Unavailable, why).caused_by(error),
        Some(Refusal::Throttled) => Error::new(ErrorKind::Throttled, why).caused_by(error),
        Some(Refusal::Denied) => {
            let actions = match &error {
                crate::Error::Registry { doing, .. } => needed(doing),
                _ => "",
            };
            Error::new(ErrorKind::Denied, format_args!("{why}: {actions} was denied"))
                .hint(format_args!(
                    "allow {actions} on this repository to these credentials: `landfall iam-policy` prints the least \
                     that a deploy needs"
                ))
                .caused_by(error)
        }
    }
}

/// The required action of a step of a push.
fn needed(doing: &str) -> &'static str {
    match doing {
        "look for a layer of" => "ecr:BatchCheckLayerAvailability",
        "push a layer of" => {
            "ecr:InitiateLayerUpload, ecr:UploadLayerPart or ecr:CompleteLayerUpload"
        }
        "push the manifest of" => "ecr:PutImage",
        _ => "ecr:GetAuthorizationToken",
    }
}

/// The digest of the image with this tag, whoever pushed it: the tag is the hash of the source.
async fn tagged(aws: &Aws, repository: &str, image: &Image) -> Result<Option<String>> {
    let wanted = ImageIdentifier::builder().image_tag(tag(image));
    digest_of(aws, repository, wanted).await
}

/// The digest of an image in a repository.
async fn digest_of(
    aws: &Aws,
    repository: &str,
    wanted: ImageIdentifierBuilder,
) -> Result<Option<String>> {
    let answer = client(aws)
        .describe_images()
        .repository_name(name(repository))
        .image_ids(wanted.build())
        .send()
        .await
        .map_err(during("ecr:DescribeImages"));
    let found = if_there(answer)?.and_then(|answer| answer.image_details);
    let found = found.unwrap_or_default().into_iter().next();
    Ok(found.and_then(|detail| detail.image_digest))
}

/// The images of a repository that Landfall has pushed.
async fn images(aws: &Aws, own: &Own) -> Result<Vec<Live<Image>>> {
    let listed = client(aws)
        .describe_images()
        .repository_name(&own.repository)
        .into_paginator()
        .items()
        .send()
        .collect::<std::result::Result<Vec<_>, _>>()
        .await
        .map_err(during("ecr:DescribeImages"));
    let listed = if_there(listed)?.unwrap_or_default();
    Ok(listed
        .iter()
        .flat_map(|detail| live(detail, &own.id, &own.name))
        .collect())
}

/// The image once for each source that it was built from: an image has a tag for each.
fn live(detail: &ImageDetail, repository: &RepositoryId, name: &ResourceName) -> Vec<Live<Image>> {
    let digest: Option<Digest> = detail.image_digest().and_then(|text| text.parse().ok());
    let Some(digest) = digest else {
        return Vec::new();
    };
    // ECR does not order tags, and a saved plan compares listings.
    let mut tags: Vec<&String> = detail.image_tags().iter().collect();
    tags.sort();
    tags.into_iter()
        .filter_map(|tag| read_tag(tag))
        .map(|(source, platform)| Live {
            id: ImageId::from(format!("{repository}@{digest}")),
            name: name.clone(),
            spec: Image {
                repository: Input::Known(repository.clone()),
                source,
                platform,
                // The build settings are not stored, and not compared.
                build_spec: BuildSpec {
                    context: PathBuf::new(),
                    dockerfile: PathBuf::new(),
                    args: BTreeMap::new(),
                    target: None,
                    config_file: None,
                    builder: BuilderChoice::Auto,
                },
            },
            state: Probe::Usable(ImageOutput {
                digest: digest.clone(),
            }),
        })
        .collect()
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
                build_spec: BuildSpec {
                    context: PathBuf::new(),
                    dockerfile: PathBuf::new(),
                    args: BTreeMap::new(),
                    target: None,
                    config_file: None,
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
