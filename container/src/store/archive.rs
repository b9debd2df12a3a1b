//! Reads the archives of engines: `docker save`, `podman save`, an OCI layout in a tar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use oci_spec::image::{Descriptor, DescriptorBuilder, ImageIndex, MediaType};
use serde::Deserialize;

use super::blob::{check_digest, check_size, read_small};
use super::ingest::Ingest;
use super::select::{fits, select};
use super::{Entry, Store, StoredImage};
use crate::config::ImageConfig;
use crate::context::copy;
use crate::ignore::clean;
use crate::request::Platform;
use crate::{Digest, Error, HeaderLimit, Result};

/// One image of Docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    layers: Vec<String>,
}

/// The maximum number of entries of an archive: an image has some 130 blobs at most, and an archive
/// may contain several images.
const MAX_ENTRIES: usize = 100_000;

/// The files of an archive, on disk, by their cleaned names.
struct Unpacked {
    files: BTreeMap<String, tempfile::TempPath>,
    links: BTreeMap<String, String>,
}

/// See [`Store::import`].
pub(super) fn import(
    store: &Store,
    archive: impl Read,
    platform: &Platform,
    entry: Entry,
) -> Result<StoredImage> {
    let ingest = store.ingest()?;
    let unpacked = Unpacked::read(store, archive)?;
    if unpacked.find("index.json").is_some() {
        return import_layout(&ingest, &unpacked, platform, &entry);
    }
    if unpacked.find("manifest.json").is_some() {
        return import_docker(&ingest, &unpacked, platform, &entry);
    }
    Err(Error::invalid(
        "the archive",
        "it has neither the index.json of an OCI layout nor the manifest.json of `docker save`",
    ))
}

/// An OCI layout: newer Docker, podman's `oci-archive`.
fn import_layout(
    ingest: &Ingest,
    unpacked: &Unpacked,
    platform: &Platform,
    entry: &Entry,
) -> Result<StoredImage> {
    let index: ImageIndex = unpacked.json("index.json")?;
    let found = select(index.manifests(), platform, &|blob| {
        unpacked.blob_bytes(blob)
    })?;
    let manifest = found.ok_or_else(|| {
        Error::invalid(
            "the archive",
            format!("it contains no image for {platform}"),
        )
    })?;
    let config = unpacked.blob_bytes(manifest.config())?;
    let mut layers = Vec::new();
    for layer in manifest.layers() {
        let name = blob_name(layer.digest());
        layers.push(ingest.add_checked(layer, unpacked.open(&name)?)?);
    }
    ingest.commit_raw(&config, layers, entry)
}

/// Docker's own format: a configuration and plain layers, with no digest except the
/// configuration's.
fn import_docker(
    ingest: &Ingest,
    unpacked: &Unpacked,
    platform: &Platform,
    entry: &Entry,
) -> Result<StoredImage> {
    let images: Vec<DockerImage> = unpacked.json("manifest.json")?;
    for image in &images {
        let config = unpacked.bytes(&image.config)?;
        let parsed: ImageConfig = serde_json::from_slice(&config)
            .map_err(|error| Error::invalid(&image.config, error))?;
        if !fits(platform, &parsed.platform()) {
            continue;
        }
        if parsed.rootfs.diff_ids.len() != image.layers.len() {
            return Err(Error::invalid(
                &image.config,
                format!(
                    "it mentions {} layers, and the archive has {}",
                    parsed.rootfs.diff_ids.len(),
                    image.layers.len()
                ),
            ));
        }
        let mut layers = Vec::new();
        for (name, diff_id) in image.layers.iter().zip(&parsed.rootfs.diff_ids) {
            layers.push(add_layer(ingest, unpacked, name, diff_id)?);
        }
        return ingest.commit_raw(&config, layers, entry);
    }
    Err(Error::invalid(
        "the archive",
        format!("it contains no image for {platform}"),
    ))
}

/// Adds one layer of Docker's format. A plain one is checked against the configuration; a
/// compressed one has no digest to check before it is unpacked.
fn add_layer(
    ingest: &Ingest,
    unpacked: &Unpacked,
    name: &str,
    diff_id: &Digest,
) -> Result<Descriptor> {
    let mut file = unpacked.open(name)?;
    let media_type = layer_type(&mut file).map_err(Error::io("read the layer", Path::new(name)))?;
    if media_type != MediaType::ImageLayer {
        let mut blob = ingest.blob()?;
        copy(&mut file, &mut blob).map_err(Error::io("copy the layer", Path::new(name)))?;
        return blob.finish(media_type);
    }
    let size = file
        .metadata()
        .map_err(Error::io("inspect the layer", Path::new(name)))?
        .len();
    let expected = DescriptorBuilder::default()
        .media_type(media_type)
        .digest(diff_id.clone())
        .size(size)
        .build()
        .map_err(|error| Error::invalid(name, error))?;
    ingest.add_checked(&expected, file)
}

/// The compression of a layer, by its first bytes.
fn layer_type(file: &mut File) -> std::io::Result<MediaType> {
    let mut magic = Vec::new();
    Read::by_ref(file).take(4).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => MediaType::ImageLayerGzip,
        [0x28, 0xb5, 0x2f, 0xfd] => MediaType::ImageLayerZstd,
        _ => MediaType::ImageLayer,
    })
}

fn lacking(name: &str) -> Error {
    Error::invalid("the archive", format!("it mentions {name} but lacks it"))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.digest())
}

impl Unpacked {
    /// Unpacks every file of `archive` into the store's own directory, which has space for large
    /// files.
    fn read(store: &Store, archive: impl Read) -> Result<Self> {
        let broken = |source| Error::Io {
            doing: "read the image archive for",
            path: store.root().to_owned(),
            source,
        };
        let mut unpacked = Self {
            files: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        let headers = HeaderLimit::default();
        let mut archive = tar::Archive::new(headers.reader(archive));
        for (number, item) in archive.entries().map_err(broken)?.enumerate() {
            let mut item = item.map_err(broken)?;
            headers.entry(&item).map_err(broken)?;
            if number >= MAX_ENTRIES {
                return Err(Error::invalid(
                    "the archive",
                    format!("it has more than {MAX_ENTRIES} entries, and no image has"),
                ));
            }
            let name = clean(&String::from_utf8_lossy(&item.path_bytes()));
            match item.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let dir = store.incoming();
                    let mut file = tempfile::NamedTempFile::new_in(&dir)
                        .map_err(Error::io("create a file in", &dir))?;
                    copy(&mut item, &mut file).map_err(broken)?;
                    file.flush().map_err(broken)?;
                    unpacked.files.insert(name, file.into_temp_path());
                }
                // Older Docker writes a repeated layer as a link to the first one.
                tar::EntryType::Symlink => {
                    let target = item
                        .link_name_bytes()
                        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                    let target = clean(&format!("{dir}/{}", target.unwrap_or_default()));
                    unpacked
                        .links
                        .insert(name, target.trim_start_matches('/').to_owned());
                }
                tar::EntryType::Link => {
                    let target = item
                        .link_name_bytes()
                        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                    unpacked
                        .links
                        .insert(name, clean(&target.unwrap_or_default()));
                }
                _ => {}
            }
        }
        Ok(unpacked)
    }

    fn find(&self, name: &str) -> Option<&Path> {
        let name = clean(name);
        let name = self.links.get(&name).unwrap_or(&name);
        self.files.get(name).map(AsRef::as_ref)
    }

    fn open(&self, name: &str) -> Result<File> {
        let path = self.find(name).ok_or_else(|| lacking(name))?;
        File::open(path).map_err(Error::io("read", path))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.find(name).ok_or_else(|| lacking(name))?;
        read_small(path)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(&self.bytes(name)?)
            .map_err(|error| Error::invalid(format!("{name} of the archive"), error))
    }

    /// A small blob, checked against its descriptor.
    fn blob_bytes(&self, blob: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.bytes(&blob_name(blob.digest()))?;
        check_digest(&bytes, blob.digest())?;
        check_size(bytes.len() as u64, blob)?;
        Ok(bytes)
    }
}
