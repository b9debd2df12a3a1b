//! Container images: build requests, builders, and the image store.
//!
//! A [`BuildRequest`] describes a build, a [`Builder`] performs it, a [`Store`] keeps the image.
//! There are two builders: [`engine`] uses a Docker or Podman engine, [`daemonless`] handles
//! Dockerfiles without `RUN` and needs only the files. [`BuilderChoice`] selects one. [`build`] skips the work when the store
//! already contains an image with the same [`ContextHash`].
//!
//! # Features
//!
//! - `engine`: the builder for Docker-compatible engines.
//! - `registry`: `FROM` a registry image in the daemonless builder. Without this feature such a
//!   `FROM` is an error that names it; `FROM scratch` and local OCI layouts work.
//! - `aws`: the AWS implementation of these kinds; `landfall_aws::Aws` is then a
//!   [`ContainerProvider`].

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
mod header_limit;
pub mod ignore;
mod image;
mod image_builder;
pub mod left_out;
#[cfg(feature = "registry")]
mod registry;
mod repository;
pub mod request;
mod selection;
pub mod store;

pub use builder::{Builder, Built, Requirements, build};
pub use config::ImageConfig;
pub use context::{Context, ContextHash};
pub use error::{DockerfileError, EngineAttempt, Error, FailedStep, Result};
pub use header_limit::{HeaderLimit, HeaderLimited};
pub use image::{BuildSpec, ContainerProvider, Image, ImageOutput, PrebuildImage, kinds};
pub use image_builder::ImageBuilder;
/// The digest of a blob, a configuration or a manifest: `sha256:…`.
pub use oci_spec::image::Digest;
pub use repository::Repository;
pub use request::{BuildRequest, Platform, RegistryCredentials, Secret};
pub use selection::BuilderChoice;
pub use store::{Entry, Store, StoredImage};
