//! Images on the engine: required base images, and the built image until its export.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use bollard::{BollardRequest, Docker};
use futures::{StreamExt as _, TryStreamExt as _};

use super::credentials::{Credentials, key};
use super::dockerfile::Base;
use super::{Engine, pipe};
use crate::builder::{Output, run_blocking};
use crate::store::StoredImage;
use crate::{BuildRequest, ContextHash, Entry, Error, Platform, Result, Store};

impl Engine {
    /// Pulls a base image if the engine does not have it for the platform.
    pub(super) async fn pull_if_missing(
        &self,
        base: &Base,
        credentials: &Credentials,
        output: &Output<'_>,
    ) -> Result<()> {
        let reference = base.tagged();
        let doing = format!("pull {reference}");
        match self.docker.inspect_image(&reference).await {
            Ok(image) => {
                let platform = Platform {
                    os: image.os.unwrap_or_default(),
                    arch: image.architecture.unwrap_or_default(),
                    variant: None,
                };
                let wanted = base.platform.parse::<Platform>();
                if wanted
                    .is_ok_and(|wanted| (wanted.os, wanted.arch) == (platform.os, platform.arch))
                {
                    return Ok(());
                }
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(self.failed_client(doing, error)),
        }
        output(&format!("pulling {reference}"));
        let options = CreateImageOptionsBuilder::default()
            .from_image(&reference)
            .platform(&base.platform)
            .build();
        let credentials = credentials.get(key(base.registry())).cloned();
        let mut messages = self.docker.create_image(Some(options), None, credentials);
        while let Some(message) = messages
            .try_next()
            .await
            .map_err(|error| self.failed_client(&doing, error))?
        {
            // Messages with an id are about one layer, many times a second.
            if let (None, Some(status)) = (message.id, message.status) {
                output(&status);
            }
        }
        Ok(())
    }

    /// Exports the image from the engine into the store.
    pub(super) async fn export(
        &self,
        name: &str,
        request: &BuildRequest,
        source: &ContextHash,
        store: &Store,
    ) -> Result<StoredImage> {
        let (sender, reader) = pipe::reader();
        let entry = Entry {
            name: None,
            stack: None,
            source: Some(source.clone()),
        };
        let (store, platform) = (store.clone(), request.platform.clone());
        let importing = tokio::spawn(run_blocking(move || store.import(reader, &platform, entry)));
        let mut archive = Box::pin(self.docker.export_image(name));
        let mut lost = None;
        while let Some(chunk) = archive.next().await {
            let chunk = chunk.map_err(|error| {
                lost = Some(error);
                io::Error::other("the engine did not send the whole image")
            });
            // The reader is gone: the import has failed, and returns the reason.
            if sender.send(chunk).await.is_err() || lost.is_some() {
                break;
            }
        }
        drop(sender);
        let stored = importing
            .await
            .map_err(|error| self.cannot("export the image", error))?;
        match lost {
            Some(error) => Err(self.failed_client("export the image", error)),
            None => stored,
        }
    }

    /// Converts an error of the client library.
    fn failed_client(&self, doing: impl Into<String>, error: bollard::errors::Error) -> Error {
        use bollard::errors::Error as Client;
        match error {
            Client::HyperResponseError { .. }
            | Client::HyperLegacyError { .. }
            | Client::IOError { .. } => Error::EngineLost {
                address: self.address.to_string(),
                doing: doing.into(),
                source: Some(Box::new(error)),
            },
            _ => self.cannot(doing, error),
        }
    }
}

fn is_missing(error: &bollard::errors::Error) -> bool {
    matches!(
        error,
        bollard::errors::Error::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}

/// Rewrites credentials in headers to the URL-safe base64 alphabet, the only one that engines
/// decode.
pub(super) fn url_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    for name in ["X-Registry-Auth", "X-Registry-Config"] {
        if let Some(value) = request.headers_mut().get_mut(name)
            && let Ok(text) = value.to_str()
            && let Ok(safe) = text.replace('+', "-").replace('/', "_").parse()
        {
            *value = safe;
        }
    }
    request
}

/// The temporary tag of an image on the engine between its build by BuildKit and its export.
///
/// If it is dropped without [`TemporaryTag::remove`], because a build failed or was cancelled, it
/// is removed in the background, as long as the runtime runs.
pub(super) struct TemporaryTag {
    docker: Docker,
    name: String,
    armed: bool,
}

impl TemporaryTag {
    pub(super) fn new(engine: &Engine, source: &ContextHash) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Unique among the builds of one process by the count, among those of a machine by the
        // process id, and among machines that share an engine by the time.
        let nanos = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_nanos());
        let name = format!(
            "localhost/landfall-build:{}-{}-{}-{nanos:x}",
            source.as_str().get(..12).unwrap_or_default(),
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed),
        );
        Self {
            docker: engine.docker.clone(),
            name,
            armed: true,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Removes the tag, and the image unless it has another tag.
    pub(super) async fn remove(mut self) -> Result<()> {
        self.armed = false;
        match remove(&self.docker, &self.name).await {
            Err(error) if !is_missing(&error) => Err(Error::Engine {
                doing: format!("remove the image {}", self.name),
                source: Box::new(error),
            }),
            _ => Ok(()),
        }
    }
}

impl Drop for TemporaryTag {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (docker, name) = (self.docker.clone(), std::mem::take(&mut self.name));
            runtime.spawn(async move {
                // Most often the tag does not exist: the build ended before it.
                let _ = remove(&docker, &name).await;
            });
        }
    }
}

async fn remove(docker: &Docker, name: &str) -> Result<(), bollard::errors::Error> {
    let options = RemoveImageOptionsBuilder::default().build();
    docker
        .remove_image(name, Some(options), None)
        .await
        .map(drop)
}
