//! Container images: what is built, by whom, and where the result is kept.
//!
//! A [`BuildRequest`] says what to build, a [`Builder`] builds it, a [`Store`] keeps it. Two builders stand
//! behind the one interface: [`engine`] asks a Docker or Podman engine, [`daemonless`] reads Dockerfiles
//! that have no `RUN` and needs nothing but the files. [`build`] skips the work when the store already holds
//! an image with the same [`ContextHash`].
//!
//! # Features
//!
//! - `engine`: the builder that talks to a Docker-compatible engine.
//! - `registry`: `FROM` a registry image in the daemonless builder. Without it such a `FROM` is an error
//!   that says so; `FROM scratch` and local OCI layouts work.
//! - `aws`: how AWS holds these kinds; `landfall_aws::Aws` is then a [`ContainerProvider`].

#[cfg(feature = "aws")]
pub mod aws;
pub mod builder;
pub mod config;
pub mod context;
pub mod daemonless;
#[cfg(feature = "engine")]
pub mod engine;
mod error;
mod glob;
pub mod ignore;
mod image;
mod image_builder;
pub mod left_out;
#[cfg(feature = "registry")]
mod registry;
mod repository;
pub mod request;
pub mod store;

pub use builder::{Builder, BuilderChoice, Built, build};
pub use config::ImageConfig;
pub use context::{Context, ContextHash};
pub use error::{DockerfileError, EngineAttempt, Error, FailedStep, Result};
pub use image::{BuildSpec, ContainerProvider, Image, ImageOutput, PrebuildImage, kinds};
pub use image_builder::ImageBuilder;
/// The digest of a blob, a configuration or a manifest: `sha256:…`.
pub use oci_spec::image::Digest;
pub use repository::Repository;
pub use request::{BuildRequest, Platform, RegistryCredentials, Secret};
pub use store::{Entry, Store, StoredImage};
