//! Reads files of a foreign layout: regular files only, never more than the declared size.
//!
//! A layout in a build context is untrusted. A blob may be a link to `/dev/zero`, an endless FIFO,
//! or a file whose contents do not match its name; the reader must not fill the disk, hang, or
//! trust it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, MediaType};
use sha2::{Digest as _, Sha256};

use super::ingest::sha256;
use crate::context::{HashWriter, copy};
use crate::{Digest, Error, Result};

/// The maximum size of an index, manifest or configuration in bytes: the limit of registries for
/// manifests (OCI distribution specification, "Pushing Manifests").
pub(crate) const MAX_JSON: u64 = 4 << 20;

/// The path of a blob in the layout `root`.
pub(crate) fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs")
        .join(digest.algorithm().as_ref())
        .join(digest.digest())
}

/// Opens a regular file. Links are refused too: their target is not part of the layout.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let kind = fs::symlink_metadata(path).map_err(Error::io("read", path))?;
    if kind.is_file() {
        return File::open(path).map_err(Error::io("read", path));
    }
    let (what, advice) = if kind.is_symlink() {
        (
            "a symbolic link",
            "; `cp -rL` copies a layout with the files that its links name",
        )
    } else if kind.is_dir() {
        ("a directory", "")
    } else {
        ("a device, a FIFO or a socket", "")
    };
    Err(Error::invalid(
        path.display(),
        format!("it is {what}, and image layouts consist of regular files{advice}"),
    ))
}

/// A complete small file of a layout.
pub(crate) fn read_small(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?
        .take(MAX_JSON + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_JSON {
        return Err(Error::invalid(
            path.display(),
            format!(
                "it has more than {} MiB, and no index, manifest or configuration has",
                MAX_JSON >> 20
            ),
        ));
    }
    Ok(bytes)
}

/// A manifest, an index or a configuration of the layout `root`, checked against its digest.
pub(crate) fn read_blob(root: &Path, digest: &Digest) -> Result<Vec<u8>> {
    let bytes = read_small(&blob_path(root, digest))?;
    check_digest(&bytes, digest)?;
    Ok(bytes)
}

/// The same, also checked against the size in its descriptor.
pub(crate) fn read_described(root: &Path, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let bytes = read_blob(root, descriptor.digest())?;
    check_size(bytes.len() as u64, descriptor)?;
    Ok(bytes)
}

/// Fails unless the digest matches these bytes.
pub(crate) fn check_digest(bytes: &[u8], digest: &Digest) -> Result<()> {
    let found = sha256(Sha256::new_with_prefix(bytes))?;
    if found == *digest {
        return Ok(());
    }
    Err(Error::invalid(
        digest,
        format!("its contents have another digest, {found}"),
    ))
}

/// Whether the contents of a blob do not match its name.
pub(crate) fn is_damaged(path: &Path, digest: &Digest) -> Result<bool> {
    let mut hash = Sha256::new();
    copy(&mut open_regular(path)?, &mut HashWriter(&mut hash)).map_err(Error::io("read", path))?;
    Ok(sha256(hash)? != *digest)
}

/// Fails unless a blob has the size in its descriptor.
pub(crate) fn check_size(size: u64, descriptor: &Descriptor) -> Result<()> {
    if size == descriptor.size() {
        return Ok(());
    }
    Err(Error::invalid(
        descriptor.digest(),
        format!(
            "its descriptor announces {} bytes, and it has {size}",
            descriptor.size()
        ),
    ))
}

/// Reads a layout's index; an empty index if the file does not exist yet.
pub(crate) fn read_index(root: &Path) -> Result<ImageIndex> {
    let path = root.join("index.json");
    if fs::symlink_metadata(&path).is_ok() {
        return read_json(&path);
    }
    let mut index = ImageIndex::default();
    index
        .set_schema_version(2)
        .set_media_type(Some(MediaType::ImageIndex));
    Ok(index)
}

/// Fails unless `root` is an OCI layout of version 1.
pub(crate) fn check_layout(root: &Path) -> Result<()> {
    let layout: oci_spec::image::OciLayout = read_json(&root.join("oci-layout"))?;
    if layout.image_layout_version().starts_with("1.") {
        return Ok(());
    }
    Err(Error::invalid(
        root.display(),
        format!(
            "it is an OCI layout of version {}, and only version 1 is known",
            layout.image_layout_version()
        ),
    ))
}

/// Reads one JSON file of a layout.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = read_small(path)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::invalid(path.display(), error))
}
