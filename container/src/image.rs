//! An image as a resource of a stack.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use landfall_provider::{
    Catalog, ImageId, Input, Key, Kind, Provider, Reference, RepositoryId, Resource, Result,
    Retention, StackName, kind,
};
use serde::{Deserialize, Serialize};

use crate::{BuildRequest, BuilderChoice, ContextHash, Digest, Platform, Repository};

/// An image in the provider's registry, ready to run.
///
/// `source` identifies it: the hash over every input of the build. Two specs with the same source
/// are the same image, wherever it was built. Its id is `<repository's id>@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its repository.
    pub repository: Input<RepositoryId>,
    /// The [identity](BuildRequest::identity) of the request.
    pub source: ContextHash,
    /// Its platform.
    pub platform: Platform,
    /// The build settings, for an image that does not exist yet.
    pub build_spec: BuildSpec,
}

/// The settings of a build, in terms of the machine that builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSpec {
    /// The build context's directory.
    pub context: PathBuf,
    /// The Dockerfile, relative to `context`.
    pub dockerfile: PathBuf,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The target stage; the last one if not given.
    pub target: Option<String>,
    /// The deployment's configuration file: [`BuildRequest::config_file`].
    #[serde(default)]
    pub config_file: Option<PathBuf>,
    /// The builder.
    pub builder: BuilderChoice,
}

/// The output of an image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOutput {
    /// The digest for running it.
    pub digest: Digest,
}

impl Image {
    /// The build request of this spec, without credentials.
    #[must_use]
    pub fn request(&self) -> BuildRequest {
        BuildRequest {
            context: self.build_spec.context.clone(),
            dockerfile: self.build_spec.dockerfile.clone(),
            args: self.build_spec.args.clone(),
            target: self.build_spec.target.clone(),
            platform: self.platform.clone(),
            config_file: self.build_spec.config_file.clone(),
            credentials: BTreeMap::new(),
        }
    }
}

impl Resource for Image {
    const KIND: Kind = kind::IMAGE;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["repository", "source", "platform"];
    const NOT_COMPARED: &'static [&'static str] = &["build_spec"];
    const RETENTION: Retention = Retention::Outlives;
    const CREATE_TIMEOUT: Duration = Duration::from_secs(3600);
    type Id = ImageId;
    type Output = ImageOutput;

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.repository]
    }
}

/// A provider that can build an image before planning, so that its digest is known.
///
/// Only the digest shows whether another build context gives another image. The build runs on this
/// machine: until [`create`](Provider::create), the provider does not change.
#[async_trait]
pub trait PrebuildImage: Provider<Image> {
    /// Builds the image on this machine, unless its store has it, and returns the digest. The provider does not change.
    ///
    /// # Errors
    /// When no builder is available, or the build fails.
    async fn prebuild(&self, key: &Key, desired: &Image) -> Result<Digest>;

    /// Records that `desired.source` builds to an image that the provider already holds.
    ///
    /// # Errors
    /// When the provider refuses the record.
    async fn record_source(&self, stack: &StackName, key: &Key, desired: &Image) -> Result<()> {
        Provider::<Image>::create(self, stack, key, desired)
            .await
            .map(drop)
    }
}

/// A provider of every kind in this crate, implemented for every type that provides them all.
pub trait ContainerProvider: Provider<Repository> + Provider<Image> {}

impl<P: Provider<Repository> + Provider<Image>> ContainerProvider for P {}

/// Adds the kinds of this crate to a catalog.
#[must_use]
pub fn kinds<P: ContainerProvider + ?Sized>(catalog: Catalog<P>) -> Catalog<P> {
    catalog.with::<Repository>().with::<Image>()
}
