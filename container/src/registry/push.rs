//! Pushes an image from the store to a registry, without an engine.

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use oci_spec::image::{Descriptor, MediaType};
use tokio_util::io::ReaderStream;

use super::{client, failed};
use crate::builder::Output;
use crate::request::RegistryCredentials;
use crate::{Digest, Error, Result, Store};

/// The number of blobs sent concurrently, as in Docker.
const AT_ONCE: usize = 5;

/// Pushes an image under a reference with a tag: first the missing blobs, then the manifest with
/// its exact bytes, so that its digest is preserved.
pub(crate) async fn push(
    store: &Store,
    manifest: &Digest,
    to: &str,
    credentials: &RegistryCredentials,
    output: &Output<'_>,
) -> Result<()> {
    let reference: Reference = to.parse().map_err(|error| Error::invalid(to, error))?;
    let client = client(&reference, "prepare to push")?;
    let auth = RegistryAuth::Basic(
        credentials.username.clone(),
        credentials.password.reveal().to_owned(),
    );
    client
        .auth(&reference, &auth, RegistryOperation::Push)
        .await
        .map_err(failed("log in to push", &reference))?;

    output(&format!("pushing {reference}"));
    let parts = store.manifest(manifest)?;
    let blobs = std::iter::once(parts.config()).chain(parts.layers());
    // All futures are created first, so that the stream holds no closure: a boxed future must be
    // `Send` by itself.
    let pushes: Vec<_> = blobs
        .map(|blob| push_blob(&client, &reference, store, blob, output))
        .collect();
    futures::stream::iter(pushes)
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;

    const DOING: &str = "push the manifest of";
    let bytes = read(&store.blob_path(manifest)).await?;
    let media_type = parts
        .media_type()
        .clone()
        .unwrap_or(MediaType::ImageManifest);
    let media_type = media_type
        .to_string()
        .parse()
        .map_err(failed(DOING, &reference))?;
    client
        .push_manifest_raw(&reference, bytes, media_type)
        .await
        .map_err(failed(DOING, &reference))?;
    Ok(())
}

async fn push_blob(
    client: &Client,
    reference: &Reference,
    store: &Store,
    blob: &Descriptor,
    output: &Output<'_>,
) -> Result<()> {
    const DOING: &str = "push a layer of";
    let digest = blob.digest().to_string();
    let there = client.blob_exists(reference, &digest).await;
    if there.map_err(failed("look for a layer of", reference))? {
        return Ok(());
    }
    let path = store.blob_path(blob.digest());
    let file = tokio::fs::File::open(&path)
        .await
        .map_err(Error::io("read", &path))?;
    let bytes = ReaderStream::new(file).map_err(OciDistributionError::IoError);
    client
        .push_blob_stream(reference, bytes, &digest, Some(blob.size()))
        .await
        .map_err(failed(DOING, reference))?;
    output(&format!("pushed {digest}, {} bytes", blob.size()));
    Ok(())
}

async fn read(path: &Path) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.map_err(Error::io("read", path))
}

/// The meaning of a registry's refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The caller lacks the permission.
    Denied,
    /// Too many calls; a later call succeeds.
    Throttled,
}

/// The meaning of a failed push; `None` if it is not a refusal, but a broken connection or a
/// failing registry.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>
pub(crate) fn refusal(error: &Error) -> Option<Refusal> {
    let Error::Registry { source, .. } = error else {
        return None;
    };
    match source.downcast_ref::<OciDistributionError>()? {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_) => Some(Refusal::Denied),
        OciDistributionError::ServerError { code, .. } => by_status(*code),
        OciDistributionError::RequestError(error) => by_status(error.status()?.as_u16()),
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().find_map(|error| match error.code {
                OciErrorCode::Denied | OciErrorCode::Unauthorized => Some(Refusal::Denied),
                OciErrorCode::Toomanyrequests => Some(Refusal::Throttled),
                _ => None,
            })
        }
        _ => None,
    }
}

fn by_status(status: u16) -> Option<Refusal> {
    match status {
        401 | 403 => Some(Refusal::Denied),
        429 => Some(Refusal::Throttled),
        _ => None,
    }
}
