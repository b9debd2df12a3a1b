//! Finds the base of a stage: nothing, an OCI layout, an image of the store, or one of a registry.

use std::path::Path;

use super::dockerfile::Source;
use super::form::{self, Instruction, Kind};
use super::parser;
use crate::config::ImageConfig;
use crate::request::{BuildRequest, Platform};
use crate::store::{self, Ingest, Store};
use crate::{Digest, Error, Result};
use oci_spec::image::{Descriptor, ImageManifest, MediaType};

/// An image whose layers are in the store.
#[derive(Clone, Debug)]
pub(super) struct BaseImage {
    pub(super) config: ImageConfig,
    pub(super) layers: Vec<Descriptor>,
}

/// The path in the name of a local OCI layout.
fn layout(name: &str) -> Option<&str> {
    name.strip_prefix("oci-layout://")
        .or_else(|| name.strip_prefix("oci:"))
}

/// Whether a name is that of a local OCI layout, which needs no registry.
pub(super) fn is_layout(name: &str) -> bool {
    layout(name).is_some()
}

/// Finds the image `name`, and adds its layers to the store.
pub(super) async fn find(
    name: &str,
    platform: &Platform,
    request: &BuildRequest,
    store: &Store,
    ingest: &Ingest,
    output: &crate::builder::Output<'_>,
) -> Result<BaseImage> {
    if let Some(layout) = layout(name) {
        return of_layout(layout, platform, &request.context, ingest);
    }
    let stored = match (store.find_named(name)?, digest_of(name)) {
        (None, Some(digest)) => store.find_digest(&digest)?,
        (named, _) => named,
    };
    if let Some(image) = stored
        && store::fits(platform, &image.platform)
    {
        let manifest = store.manifest(&image.manifest_digest)?;
        return Ok(BaseImage {
            config: store.config(&image.config_digest)?,
            layers: manifest.layers().clone(),
        });
    }
    #[cfg(feature = "registry")]
    {
        super::registry::pull(name, platform, request, store, ingest, output).await
    }
    #[cfg(not(feature = "registry"))]
    {
        let _ = output;
        Err(Error::WithoutFeature {
            feature: "registry",
            reason: format!("{name} has to be pulled from its registry"),
        })
    }
}

/// An ONBUILD instruction of a base image, and its text.
pub(super) type Trigger = (Instruction, String);

/// The ONBUILD instructions of a base image: a stage upon it begins with them. The line `from` names the image.
pub(super) fn triggers(
    base: &BaseImage,
    name: &str,
    source: &Source,
    from: usize,
) -> Result<Vec<Trigger>> {
    let triggers = base.config.config.on_build.iter();
    triggers
        .map(|text| {
            let refused = |problem: String, hint: &str| {
                let problem = format!("{name} has the instruction ONBUILD {text}: {problem}");
                Error::from(source.error_with_hint(from, problem, hint))
            };
            let invalid = |problem| refused(problem, "build on another image");
            // It is read as a file of its own: no `escape` directive of this file is for it.
            let (escape, mut raw) = parser::parse(text).map_err(|error| invalid(error.problem))?;
            let (Some(one), true) = (raw.pop(), raw.is_empty()) else {
                return Err(invalid("it is not one instruction".to_owned()));
            };
            let mut trigger = form::instruction(one, escape).map_err(invalid)?;
            trigger.line = from;
            let needs_engine = match &trigger.kind {
                Kind::Run => Some("RUN needs a container engine"),
                Kind::Copy(_) if trigger.flags.iter().any(|flag| flag.name == "from") => {
                    Some("a copy from another image needs a container engine")
                }
                Kind::Onbuild | Kind::From { .. } => {
                    return Err(invalid("it cannot stand there".to_owned()));
                }
                _ => None,
            };
            match needs_engine {
                None => Ok((trigger, text.clone())),
                Some(why) => Err(refused(
                    why.to_owned(),
                    "build with a container engine, or build on another image",
                )),
            }
        })
        .collect()
}

/// An image in the OCI layout `path[:tag]` or `path@sha256:…`, relative to the context.
fn of_layout(
    text: &str,
    platform: &Platform,
    context: &Path,
    ingest: &Ingest,
) -> Result<BaseImage> {
    let (path, wanted) = split_reference(text);
    let root = context.join(path);
    if !root.join("oci-layout").exists() {
        return Err(Error::invalid(
            root.display(),
            "it has no file `oci-layout`, so it is no OCI image layout",
        ));
    }
    store::check_layout(&root)?;
    let index = store::read_index(&root)?;
    let candidates: Vec<Descriptor> = index
        .manifests()
        .iter()
        .filter(|item| match &wanted {
            Wanted::Any => true,
            Wanted::Tag(tag) => store::entry_of(item).name.as_deref() == Some(tag),
            Wanted::Digest(digest) => item.digest() == digest,
        })
        .cloned()
        .collect();
    let read = |blob: &Descriptor| store::read_described(&root, blob);
    let manifest = store::select(&candidates, platform, &read)?.ok_or_else(|| {
        Error::invalid(
            root.display(),
            format!("it contains no image {wanted}for {platform}"),
        )
    })?;
    let config = read(manifest.config())?;
    let mut layers = Vec::new();
    for layer in oci_layers(&manifest)? {
        let file = store::open_regular(&store::blob_path(&root, layer.digest()))?;
        layers.push(ingest.add_checked(&layer, file)?);
    }
    image(&config, layers, &root.display().to_string())
}

/// A base image from a configuration and its layers.
pub(super) fn image(config: &[u8], layers: Vec<Descriptor>, name: &str) -> Result<BaseImage> {
    let config: ImageConfig =
        serde_json::from_slice(config).map_err(|error| Error::invalid(name, error))?;
    if config.rootfs.diff_ids.len() != layers.len() {
        return Err(Error::invalid(
            name,
            format!(
                "its configuration mentions {} layers, its manifest {}",
                config.rootfs.diff_ids.len(),
                layers.len()
            ),
        ));
    }
    Ok(BaseImage { config, layers })
}

/// The layers of a manifest with OCI media types: Docker has other names for the same formats.
pub(super) fn oci_layers(manifest: &ImageManifest) -> Result<Vec<Descriptor>> {
    let translate = |layer: &Descriptor| {
        let media_type = match layer.media_type() {
            MediaType::Other(name) => match name.as_str() {
                "application/vnd.docker.image.rootfs.diff.tar.gzip" => MediaType::ImageLayerGzip,
                "application/vnd.docker.image.rootfs.diff.tar" => MediaType::ImageLayer,
                other => {
                    return Err(Error::invalid(
                        layer.digest(),
                        format!("a layer of the type {other} cannot be used"),
                    ));
                }
            },
            known => known.clone(),
        };
        let mut layer = layer.clone();
        layer.set_media_type(media_type);
        Ok(layer)
    };
    manifest.layers().iter().map(translate).collect()
}

/// The digest of `name@sha256:…`, which identifies the image independently of its location.
fn digest_of(name: &str) -> Option<Digest> {
    name.rsplit_once('@')?.1.parse().ok()
}

/// The requested image of a layout.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Any,
    Tag(String),
    Digest(Digest),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Tag(tag) => write!(f, "tagged {tag} "),
            Self::Digest(digest) => write!(f, "{digest} "),
        }
    }
}

fn split_reference(text: &str) -> (&str, Wanted) {
    if let Some((path, digest)) = text.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return (path, Wanted::Digest(digest));
    }
    match text.rsplit_once(':') {
        // A colon before a slash belongs to a directory's name.
        Some((path, tag)) if !tag.contains('/') && !path.is_empty() && !tag.is_empty() => {
            (path, Wanted::Tag(tag.to_owned()))
        }
        _ => (text, Wanted::Any),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layouts_reference_is_a_path_and_a_tag() {
        let digest = "sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";
        assert_eq!(split_reference("base"), ("base", Wanted::Any));
        assert_eq!(
            split_reference("../a/base:v1"),
            ("../a/base", Wanted::Tag("v1".to_owned()))
        );
        assert_eq!(split_reference("a:b/base"), ("a:b/base", Wanted::Any));
        assert_eq!(
            split_reference(&format!("base@{digest}")),
            ("base", Wanted::Digest(digest.parse().unwrap()))
        );
    }
}
