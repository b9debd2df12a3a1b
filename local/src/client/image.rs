//! Images: this process builds them into a store on disk, and the cloud runs them from there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use landfall_container::{
    self as container, BuildSpec, BuilderChoice, Digest, Entry, Image, ImageOutput, PrebuildImage,
    Repository, StoredImage,
};
use landfall_provider::{
    Error, ErrorKind, ImageId, Input, Key, Live, Probe, Provider, RepositoryId, ResourceName,
    Result, StackName,
};

use super::Local;

#[async_trait]
impl Provider<Image> for Local {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Image>>> {
        let images = self
            .stored()?
            .iter()
            .filter_map(|image| live(stack, image))
            .collect();
        self.in_repositories(images).await
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &Image) -> Result<ImageId> {
        let repository = self.repository(desired).await?;
        let image_builder = &self.0.image_builder;
        let built = image_builder
            .make(key, desired, repository.as_ref())
            .await?;
        let entry = Entry {
            name: Some(repository.to_string()),
            stack: Some(stack.to_string()),
            source: Some(built.source.clone()),
        };
        image_builder
            .store()
            .tag(&built.manifest_digest, &entry)
            .map_err(|error| failed("the image was not entered in the store", error))?;
        Ok(id(repository.as_ref(), &built.manifest_digest))
    }

    async fn update(&self, live: &Live<Image>, _: &Image) -> Result<()> {
        Err(Error::new(
            ErrorKind::Invalid,
            format_args!("{}: an image does not change", live.id),
        ))
    }

    async fn probe(&self, wanted: &ImageId) -> Result<Probe<ImageOutput>> {
        let found = self.stored()?.into_iter().find(|image| {
            image
                .entry
                .name
                .as_deref()
                .is_some_and(|name| &id(name, &image.manifest_digest) == wanted)
        });
        Ok(found.map_or(Probe::Absent, |image| {
            Probe::Usable(ImageOutput {
                digest: image.manifest_digest,
            })
        }))
    }

    async fn delete(&self, live: &Live<Image>) -> Result<()> {
        let unwanted = |entry: &Entry| {
            entry.name.as_deref() == live.spec.repository.known().map(AsRef::as_ref)
                && entry.source.as_ref() == Some(&live.spec.source)
        };
        self.0
            .image_builder
            .store()
            .remove(unwanted)
            .map_err(|error| failed("the image was not removed from the store", error))?;
        Ok(())
    }
}

#[async_trait]
impl PrebuildImage for Local {
    async fn prebuild(&self, key: &Key, desired: &Image) -> Result<Digest> {
        let built = self
            .0
            .image_builder
            .make(key, desired, key.name.as_str())
            .await?;
        Ok(built.manifest_digest)
    }
}

impl Local {
    /// The repository of a new image; it has to exist.
    async fn repository(&self, desired: &Image) -> Result<RepositoryId> {
        let id = desired.repository.resolved()?.clone();
        if self.has_repository(&id).await? {
            return Ok(id);
        }
        Err(Error::new(
            ErrorKind::NotFound,
            format_args!("the repository `{id}` does not exist"),
        ))
    }

    /// The images whose repository exists. The store also keeps images of deleted stacks: they make the next
    /// build faster, and no stack owns them.
    async fn in_repositories(&self, images: Vec<Live<Image>>) -> Result<Vec<Live<Image>>> {
        let mut there = BTreeMap::new();
        for image in &images {
            let id = image.spec.repository.resolved()?;
            if !there.contains_key(id) {
                there.insert(id.clone(), self.has_repository(id).await?);
            }
        }
        let is_there = |image: &Live<Image>| {
            let id = image.spec.repository.known();
            id.and_then(|id| there.get(id)).copied().unwrap_or(false)
        };
        Ok(images.into_iter().filter(is_there).collect())
    }

    async fn has_repository(&self, id: &RepositoryId) -> Result<bool> {
        let probed = <Self as Provider<Repository>>::probe(self, id).await?;
        Ok(probed != Probe::Absent)
    }

    fn stored(&self) -> Result<Vec<StoredImage>> {
        self.0
            .image_builder
            .store()
            .list()
            .map_err(|error| failed("the image store cannot be read", error))
    }
}

/// The image as a resource; `None` if it belongs to another stack, or has no recorded source.
fn live(stack: &StackName, image: &StoredImage) -> Option<Live<Image>> {
    if image.entry.stack.as_deref() != Some(stack.as_str()) {
        return None;
    }
    let repository = image.entry.name.clone()?;
    let name = repository
        .rsplit('/')
        .next()
        .and_then(|name| ResourceName::new(name).ok())?;
    Some(Live {
        id: id(&repository, &image.manifest_digest),
        name,
        spec: Image {
            repository: Input::Known(RepositoryId::from(repository)),
            source: image.entry.source.clone()?,
            platform: image.platform.clone(),
            // The build settings are not recorded, so they are not compared.
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
            digest: image.manifest_digest.clone(),
        }),
    })
}

fn id(repository: &str, digest: &container::Digest) -> ImageId {
    ImageId::from(format!("{repository}@{digest}"))
}

fn failed(what: &str, error: container::Error) -> Error {
    Error::new(ErrorKind::Other, what).caused_by(error)
}
