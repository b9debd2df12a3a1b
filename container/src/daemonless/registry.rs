//! Pulls a base image from a registry.

use std::collections::BTreeMap;
use std::io::Write as _;

use futures::{StreamExt as _, TryStreamExt as _};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::base::{BaseImage, image, oci_layers};
use crate::builder::Output;
use crate::request::{BuildRequest, Platform, RegistryCredentials};
use crate::store::{Ingest, Store, fits, is_index};
use crate::{Error, Result, registry};

/// The accepted media types of a manifest.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The number of layers fetched concurrently, as in Docker.
const AT_ONCE: usize = 3;

/// Adds the image `name` to the store, for `platform`.
pub(super) async fn pull(
    name: &str,
    platform: &Platform,
    request: &BuildRequest,
    store: &Store,
    ingest: &Ingest,
    output: &Output<'_>,
) -> Result<BaseImage> {
    let reference: Reference = name.parse().map_err(|error| Error::invalid(name, error))?;
    let pull = Pull::new(reference, request)?;
    output(&format!("pulling {}", pull.reference));

    let manifest = pull.manifest(platform).await?;
    let config = pull.blob(manifest.config(), ingest).await?;
    let config = crate::store::read_described(store.root(), &config)?;
    let layers = oci_layers(&manifest)?;
    // All futures are created first, so that the stream holds no closure: a boxed future must be
    // `Send` by itself.
    let pulls: Vec<_> = layers
        .iter()
        .map(|layer| pull.blob(layer, ingest))
        .collect();
    let layers: Vec<Descriptor> = futures::stream::iter(pulls)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let base = image(&config, layers, &pull.reference.to_string())?;
    if !fits(platform, &base.config.platform()) {
        return Err(Error::invalid(
            &pull.reference,
            format!(
                "it is for {}, but the build needs {platform}",
                base.config.platform()
            ),
        ));
    }
    Ok(base)
}

struct Pull {
    client: Client,
    auth: RegistryAuth,
    reference: Reference,
}

impl Pull {
    fn new(reference: Reference, request: &BuildRequest) -> Result<Self> {
        let auth = match credentials(reference.registry(), &request.credentials) {
            Some(credentials) => RegistryAuth::Basic(
                credentials.username.clone(),
                credentials.password.reveal().to_owned(),
            ),
            None => RegistryAuth::Anonymous,
        };
        let client = registry::client(&reference, "prepare to pull")?;
        Ok(Self {
            client,
            auth,
            reference,
        })
    }

    fn failed<E: std::error::Error + Send + Sync + 'static>(
        &self,
        doing: &'static str,
    ) -> impl FnOnce(E) -> Error {
        registry::failed(doing, &self.reference)
    }

    /// The manifest for `platform`, also through an index.
    async fn manifest(&self, platform: &Platform) -> Result<ImageManifest> {
        const DOING: &str = "read the manifest of";
        let mut reference = self.reference.clone();
        // Nested indexes are allowed but unused; two rounds are one more than needed.
        for _ in 0..3 {
            let (bytes, _) = self
                .client
                .pull_manifest_raw(&reference, &self.auth, &MANIFESTS)
                .await
                .map_err(self.failed(DOING))?;
            let broken = |error| Error::invalid(&reference, error);
            let index: Option<ImageIndex> = serde_json::from_slice(&bytes).ok();
            let Some(index) =
                index.filter(|index| index.media_type().as_ref().is_none_or(is_index))
            else {
                return serde_json::from_slice(&bytes).map_err(broken);
            };
            let mut have = Vec::new();
            let mut found = None;
            for item in index.manifests() {
                let Some(offered) = item.platform() else {
                    continue;
                };
                let offered = Platform {
                    os: offered.os().to_string(),
                    arch: offered.architecture().to_string(),
                    variant: offered.variant().clone(),
                };
                if fits(platform, &offered) {
                    found = Some(item.digest().to_string());
                    break;
                }
                have.push(offered.to_string());
            }
            let Some(digest) = found else {
                return Err(Error::invalid(
                    &self.reference,
                    format!("it has no image for {platform}; it has {}", have.join(", ")),
                ));
            };
            reference = reference.clone_with_digest(digest);
        }
        Err(Error::invalid(
            &self.reference,
            "its indexes mention indexes without end",
        ))
    }

    /// Adds one blob to the store, unless it is present.
    async fn blob(&self, blob: &Descriptor, ingest: &Ingest) -> Result<Descriptor> {
        if ingest.has(blob) {
            return Ok(blob.clone());
        }
        const DOING: &str = "pull a layer of";
        let wanted = OciDescriptor {
            media_type: blob.media_type().to_string(),
            digest: blob.digest().to_string(),
            size: i64::try_from(blob.size()).unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let mut stream = self
            .client
            .pull_blob_stream(&self.reference, &wanted)
            .await
            .map_err(self.failed(DOING))?;
        let mut writer = ingest.blob()?;
        while let Some(bytes) = stream.try_next().await.map_err(self.failed(DOING))? {
            writer
                .write_all(&bytes)
                .map_err(self.failed("store a layer of"))?;
        }
        writer.finish_as(blob)
    }
}

/// The credentials for a registry; Docker Hub has several names.
fn credentials<'c>(
    registry: &str,
    all: &'c BTreeMap<String, RegistryCredentials>,
) -> Option<&'c RegistryCredentials> {
    let hub: &[&str] = &[
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "https://index.docker.io/v1/",
    ];
    all.get(registry).or_else(|| {
        hub.contains(&registry)
            .then(|| hub.iter().find_map(|name| all.get(*name)))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Secret;

    #[test]
    fn docker_hubs_credentials_are_found_by_any_of_its_names() {
        let mut all = BTreeMap::new();
        let digi = RegistryCredentials {
            username: "digi".into(),
            password: Secret::new("x"),
        };
        all.insert("https://index.docker.io/v1/".to_owned(), digi.clone());
        assert_eq!(credentials("docker.io", &all), Some(&digi));
        assert_eq!(credentials("example.com", &all), None);
    }
}
