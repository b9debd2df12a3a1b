//! Selects one image from an index with several.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::de::DeserializeOwned;

use crate::config::ImageConfig;
use crate::request::Platform;
use crate::{Error, Result};

/// Reads a blob from the index's source, checked against its descriptor.
type Read<'a> = dyn Fn(&Descriptor) -> Result<Vec<u8>> + 'a;

/// The first image for `platform` among `candidates`, or in a nested index.
pub(crate) fn select(
    candidates: &[Descriptor],
    platform: &Platform,
    read: &Read<'_>,
) -> Result<Option<ImageManifest>> {
    nested(candidates, platform, read, 0)
}

fn nested(
    candidates: &[Descriptor],
    platform: &Platform,
    read: &Read<'_>,
    depth: usize,
) -> Result<Option<ImageManifest>> {
    for item in candidates {
        if is_index(item.media_type()) {
            // Engines nest one level; anything much deeper is malicious.
            if depth < 4 {
                let index: ImageIndex = json(read, item)?;
                if let Some(manifest) = nested(index.manifests(), platform, read, depth + 1)? {
                    return Ok(Some(manifest));
                }
            }
            continue;
        }
        let manifest: ImageManifest = json(read, item)?;
        let config = read(manifest.config())?;
        // BuildKit stores attestations beside images; their configuration is not an image's.
        let config = serde_json::from_slice::<ImageConfig>(&config);
        if config.is_ok_and(|config| fits(platform, &config.platform())) {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// Whether a media type is an index, in OCI's or Docker's terms.
pub(crate) fn is_index(media_type: &MediaType) -> bool {
    *media_type == MediaType::ImageIndex
        || media_type.as_ref() == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// Whether an image for `current` can be used for `desired`: a variant counts only if both sides
/// have one.
pub(crate) fn fits(desired: &Platform, current: &Platform) -> bool {
    let variants = match (&desired.variant, &current.variant) {
        (Some(desired), Some(current)) => desired == current,
        _ => true,
    };
    desired.os == current.os && desired.arch == current.arch && variants
}

fn json<T: DeserializeOwned>(read: &Read<'_>, blob: &Descriptor) -> Result<T> {
    serde_json::from_slice(&read(blob)?).map_err(|error| Error::invalid(blob.digest(), error))
}
