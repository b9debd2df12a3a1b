//! The interface of image builders.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

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

/// The optional parts of this crate that a build needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The reason why it needs the client for engines (feature `engine`).
    pub engine: Option<String>,
    /// An image that it pulls from a registry (feature `registry`).
    pub registry: Option<String>,
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
