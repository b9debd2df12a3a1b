//! The builder for Docker-compatible engines: Docker with or without BuildKit, or Podman.
//!
//! The context is streamed to the engine, its output is returned line by line, and the image is
//! exported from the engine into the [`Store`]. Only the build cache stays on the engine. BuildKit
//! manages its cache itself, so the image has a temporary tag until it is exported, and is removed
//! with it. For the classic builder and for Podman the cache *is* untagged images, ending with the
//! built one, as after any build with them; `docker image prune` and `podman image prune` remove
//! them.
//!
//! When a build is cancelled, Podman first finishes the running step (seen with 4.3). Docker stops
//! at once.
//!
//! BuildKit runs without a client session, so it cannot ask for credentials while it builds. Base
//! images that are missing on the engine are therefore pulled before the build, with credentials.
//! `RUN --mount=type=secret` and `type=ssh` need a session, and fail.

mod address;
mod connect;
mod credentials;
mod dockerfile;
mod image;
mod pipe;
mod progress;
mod trace;
mod transport;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use async_trait::async_trait;
use bollard::Docker;
use bollard::query_parameters::{BuildImageOptionsBuilder, BuilderVersion};
use http_body_util::StreamBody;
use hyper::Request;
use hyper::header;

pub use address::{Address, AddressError, Environment};

use crate::builder::{Output, run_blocking};
use crate::{
    BuildRequest, Builder, Built, Context, DockerfileError, Error, FailedStep, Platform, Result,
    Store, left_out,
};
use connect::chain;
use credentials::Credentials;
use dockerfile::Base;
use image::TemporaryTag;
use progress::{Message, Outcome, Progress};
use transport::{Failure, Messages};

/// The kind of engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Docker, or an engine that reports no other name.
    Docker,
    /// Podman's Docker-compatible API.
    Podman,
}

/// A running engine that has answered.
#[derive(Clone, Debug)]
pub struct Engine {
    address: Address,
    docker: Docker,
    kind: Kind,
    version: String,
    platform: Platform,
    buildkit: bool,
    config_file: Option<PathBuf>,
}

impl Engine {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its version as reported: `20.10.24+dfsg1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether builds use BuildKit: the engine supports it, and `DOCKER_BUILDKIT=0` does not
    /// disable it.
    #[must_use]
    pub fn uses_buildkit(&self) -> bool {
        self.buildkit
    }

    /// Credentials for the registries of `bases`, including the request's.
    async fn credentials(
        &self,
        request: &BuildRequest,
        bases: &[Base],
        output: &Output<'_>,
    ) -> Result<Credentials> {
        let registries: BTreeSet<String> = bases
            .iter()
            .map(|base| base.registry().to_owned())
            .collect();
        let given = request.credentials.clone();
        let config = self.config_file.clone();
        // Helpers are programs that may use a keyring or a network.
        let (found, warnings) = run_blocking(move || {
            let warnings = std::sync::Mutex::new(Vec::new());
            let found = credentials::find(&registries, &given, config.as_deref(), &|line| {
                if let Ok(mut warnings) = warnings.lock() {
                    warnings.push(line.to_owned());
                }
            });
            Ok((found, warnings.into_inner().unwrap_or_default()))
        })
        .await?;
        for warning in warnings {
            output(&warning);
        }
        Ok(found)
    }

    /// Sends the context and follows the build to its end.
    async fn run(
        &self,
        request: &BuildRequest,
        context: Context,
        credentials: &Credentials,
        tag: Option<&str>,
        output: &Output<'_>,
    ) -> Result<Outcome> {
        let query = self.query(request, &context, tag)?;
        let (mut writer, frames) = pipe::body();
        let sending = tokio::task::spawn_blocking(move || {
            let written = context.write_tar(&mut writer);
            match written {
                Ok(()) => {
                    std::io::Write::flush(&mut writer).map_err(Error::io("send", context.root()))
                }
                Err(error) => {
                    writer.fail();
                    Err(error)
                }
            }
        });
        let http = Request::post(format!("/build?{query}"))
            .header(header::HOST, "engine")
            .header(header::CONTENT_TYPE, "application/x-tar")
            .header("X-Registry-Config", self.header(credentials)?)
            .body(StreamBody::new(frames))
            .map_err(|error| self.cannot("build an image", error))?;

        let followed = match transport::send(&self.address, http).await {
            Ok(messages) => follow(messages, output).await,
            Err(failure) => Err(failure),
        };
        // An unreadable context breaks the connection; its error is the reason. A broken pipe only
        // shows that the engine stopped reading.
        let sent = match followed {
            Ok(Outcome::Image(_)) => Ok(()),
            _ => sending.await.unwrap_or(Ok(())),
        };
        match sent {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        match followed {
            Ok(outcome) => Ok(outcome),
            // The engine refuses to start: the Dockerfile, the target or an argument is wrong.
            Err(Failure::Refused { message, .. }) => Ok(Outcome::Failed {
                step: None,
                message,
                output: Vec::new(),
            }),
            Err(failure) => Err(self.failed("build an image", failure)),
        }
    }

    /// The options of `POST /build`.
    fn query(
        &self,
        request: &BuildRequest,
        context: &Context,
        tag: Option<&str>,
    ) -> Result<String> {
        let args: HashMap<String, String> = request
            .args
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut options = BuildImageOptionsBuilder::default()
            .dockerfile(&context.dockerfile_name())
            .buildargs(&args)
            .target(request.target.as_deref().unwrap_or_default())
            .platform(&request.platform.to_string())
            // Remove the containers of all steps, also of a failed one.
            .rm(true)
            .forcerm(true)
            .version(if self.buildkit {
                BuilderVersion::BuilderBuildKit
            } else {
                BuilderVersion::BuilderV1
            });
        if let Some(tag) = tag {
            options = options.t(tag);
        }
        let options = options.build();
        serde_urlencoded::to_string(&options).map_err(|error| self.cannot("build an image", error))
    }

    fn header(&self, value: &impl serde::Serialize) -> Result<String> {
        credentials::header(value).map_err(|error| self.cannot("take credentials", error))
    }

    /// An [`Error::Engine`].
    fn cannot(
        &self,
        doing: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::Engine {
            doing: format!("{} (asked at {})", doing.into(), self.address),
            source: Box::new(source),
        }
    }

    /// Converts a [`Failure`].
    fn failed(&self, doing: impl Into<String>, failure: Failure) -> Error {
        match failure {
            Failure::Lost(_) | Failure::Connect(_) => Error::EngineLost {
                address: self.address.to_string(),
                doing: doing.into(),
                source: Some(Box::new(failure)),
            },
            Failure::Refused { .. } | Failure::Nonsense(_) => self.cannot(doing, failure),
        }
    }
}

#[async_trait]
impl Builder for Engine {
    async fn build(
        &self,
        request: &BuildRequest,
        store: &Store,
        output: &Output<'_>,
    ) -> Result<Built> {
        let (context, source, text) = {
            let request = request.clone();
            run_blocking(move || {
                let context = Context::open(&request)?;
                let source = request.identity_of(&context)?;
                Ok((context, source, request.read_dockerfile()?))
            })
            .await?
        };
        let bases = dockerfile::bases(&text, request, &self.platform);
        let credentials = self.credentials(request, &bases, output).await?;
        if self.buildkit {
            for base in &bases {
                self.pull_if_missing(base, &credentials, output).await?;
            }
        }
        let tag = self.buildkit.then(|| TemporaryTag::new(self, &source));
        let name = tag.as_ref().map(TemporaryTag::name);
        let id = match self
            .run(request, context, &credentials, name, output)
            .await?
        {
            Outcome::Image(id) => id,
            Outcome::Unfinished => {
                return Err(Error::EngineLost {
                    address: self.address.to_string(),
                    doing: "build an image".to_owned(),
                    source: None,
                });
            }
            Outcome::Failed {
                step,
                message,
                output,
            } => {
                let step = step.map(|step| FailedStep {
                    at: dockerfile::line_of(&text, &step)
                        .map(|line| (request.dockerfile_path(), line)),
                    text: step.text,
                });
                let failed = Error::BuildFailed {
                    step,
                    message,
                    output,
                };
                return Err(left_out::explain(failed, request));
            }
        };
        output("taking the image from the engine into the image store");
        let stored = self
            .export(name.unwrap_or(&id), request, &source, store)
            .await;
        if let Some(tag) = tag
            && let Err(error) = tag.remove().await
        {
            // The image is in the store nevertheless.
            output(&format!("warning: {}", chain(&error)));
        }
        let stored = stored?;
        Ok(Built {
            manifest_digest: stored.manifest_digest,
            config_digest: stored.config_digest,
            source,
            builder: Some(self.name().to_owned()),
        })
    }

    async fn check(&self, request: &BuildRequest) -> Result<()> {
        let (request, platform) = (request.clone(), self.platform.clone());
        run_blocking(move || {
            if !request.context.is_dir() {
                return Err(Error::ContextMissing {
                    path: request.context,
                });
            }
            let text = request.read_dockerfile()?;
            match dockerfile::without_command(&text, &request, &platform) {
                Some(line) => {
                    Err(DockerfileError::no_command(request.dockerfile_path(), line, &text).into())
                }
                None => Ok(()),
            }
        })
        .await
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
        }
    }
}

/// Reads the messages of a build to their end.
async fn follow(mut messages: Messages, output: &Output<'_>) -> Result<Outcome, Failure> {
    let mut progress = Progress::new(output);
    while let Some(message) = messages.next::<Message>().await? {
        progress.take(&message);
    }
    Ok(progress.finish())
}
