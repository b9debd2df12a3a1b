//! The interface of image builders, and the choice of one.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::daemonless::Daemonless;
use crate::{BuildRequest, ContextHash, Digest, Result, Store};

/// Receives lines of build progress, without their line breaks.
pub type Output<'a> = dyn Fn(&str) + Send + Sync + 'a;

/// A builder that creates an image from a request.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Builds `request` and adds the image to `store`, under the request's identity.
    ///
    /// Always builds; [`build`] asks the store first. `output` gets a line for each step, and the
    /// output of the steps.
    ///
    /// # Errors
    ///
    /// Any failure of the build; the store then has no new entry.
    async fn build(
        &self,
        request: &BuildRequest,
        store: &Store,
        output: &Output<'_>,
    ) -> Result<Built>;

    /// Checks for reasons why `request` cannot become a runnable image, before anything is created
    /// for it. It reports only certain faults that can be found without fetching or executing
    /// anything, and only the first one.
    ///
    /// Uncertain cases pass, so a build can still fail.
    ///
    /// # Errors
    ///
    /// The error that [`Builder::build`] would return; also
    /// [`Error::Dockerfile`](crate::Error::Dockerfile) for an image with neither `ENTRYPOINT` nor
    /// `CMD`.
    async fn check(&self, request: &BuildRequest) -> Result<()>;

    /// A short name for messages: `docker`, `podman`, `daemonless`.
    fn name(&self) -> &'static str;
}

/// An image in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The digest for running and pushing the image.
    pub manifest_digest: Digest,
    /// The digest of its configuration, which engines call the image id.
    pub config_digest: Digest,
    /// The identity of the request.
    pub source: ContextHash,
    /// The builder's [`Builder::name`], or `None` if the store already had the image.
    pub builder: Option<String>,
}

/// Returns the image for `request`: from the store if it contains one with this identity, otherwise
/// from `builder`.
///
/// # Errors
///
/// The identity cannot be computed, the store cannot be read, or the build fails.
pub async fn build(
    builder: &dyn Builder,
    request: &BuildRequest,
    store: &Store,
    output: &Output<'_>,
) -> Result<Built> {
    let source = {
        let request = request.clone();
        run_blocking(move || request.identity()).await?
    };
    if let Some(image) = store.find(&source)? {
        return Ok(Built {
            manifest_digest: image.manifest_digest,
            config_digest: image.config_digest,
            source,
            builder: None,
        });
    }
    builder.build(request, store, output).await
}

/// Runs file operations outside the async threads.
pub(crate) async fn run_blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
        Err(cancelled) => Err(crate::Error::Io {
            doing: "finish the build in",
            path: std::env::temp_dir(),
            source: std::io::Error::other(cancelled),
        }),
    }
}

/// The choice of a builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuilderChoice {
    /// The engine if one answers, otherwise daemonless.
    #[default]
    Auto,
    /// A Docker or Podman engine; an error if none answers.
    Engine,
    /// The daemonless builder, even if an engine answers.
    Daemonless,
}

impl BuilderChoice {
    /// Returns the chosen builder, with the engine settings of this process's environment.
    ///
    /// When `Auto` finds no engine, `output` gets a line about it: a Dockerfile may need one.
    ///
    /// # Errors
    ///
    /// An engine is required and none answers, or the environment has an invalid engine setting.
    pub async fn choose(self, output: &Output<'_>) -> Result<Box<dyn Builder>> {
        #[cfg(feature = "engine")]
        return self
            .choose_in(&crate::engine::Environment::of_process(), output)
            .await;
        #[cfg(not(feature = "engine"))]
        match self {
            Self::Daemonless => Ok(Box::new(Daemonless)),
            Self::Auto => {
                output(
                    "building without a container engine: this build of Landfall contains no client for one",
                );
                Ok(Box::new(Daemonless))
            }
            Self::Engine => Err(crate::Error::EngineUnavailable {
                tried: Vec::new(),
                hint: "this build of Landfall has no client for one (feature `engine`)".to_owned(),
            }),
        }
    }

    /// [`BuilderChoice::choose`] with the engine settings of `environment`.
    ///
    /// # Errors
    ///
    /// As [`BuilderChoice::choose`].
    #[cfg(feature = "engine")]
    pub async fn choose_in(
        self,
        environment: &crate::engine::Environment,
        output: &Output<'_>,
    ) -> Result<Box<dyn Builder>> {
        use crate::Error;
        use crate::engine::Engine;

        if self == Self::Daemonless {
            return Ok(Box::new(Daemonless));
        }
        match Engine::connect(environment).await {
            Ok(engine) => Ok(Box::new(engine)),
            Err(Error::EngineUnavailable { tried, .. }) if self == Self::Auto => {
                let places: Vec<&str> = tried
                    .iter()
                    .map(|attempt| attempt.address.as_str())
                    .collect();
                let places = if places.is_empty() {
                    String::new()
                } else {
                    format!(" at {}", places.join(", "))
                };
                output(&format!(
                    "building without a container engine: none answers{places}"
                ));
                Ok(Box::new(Daemonless))
            }
            Err(error) => Err(error),
        }
    }
}
