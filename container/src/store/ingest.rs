//! Adds an image to the store: its blobs first, its entry last.

use std::fs::File;
use std::io::{self, Read, Write};

use oci_spec::image::{Descriptor, DescriptorBuilder, ImageManifestBuilder, MediaType};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::blob::check_size;
use super::{Entry, Store, StoredImage, make_readable, oci_platform, upsert};
use crate::config::{self, ImageConfig};
use crate::context::{copy, hex};
use crate::{Digest, Error, Result};

/// An image that is being added to the store.
///
/// As long as it exists, [`Store::collect`] removes nothing, so blobs can be added before their
/// entry. The kernel releases the lock when the process dies.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    _lock: File,
}

impl Ingest {
    pub(super) fn start(store: &Store) -> Result<Self> {
        let lock = store.open_lock("ingest.lock")?;
        // Shared: any number of processes may add images. Waits only for a running collection.
        lock.lock_shared()
            .map_err(Error::io("lock", store.root.join("ingest.lock")))?;
        Ok(Self {
            store: store.clone(),
            _lock: lock,
        })
    }

    /// Starts a blob whose digest is known after it is written.
    ///
    /// # Errors
    ///
    /// No file can be created in the store.
    pub fn blob(&self) -> Result<BlobWriter> {
        let dir = self.store.incoming();
        let file = NamedTempFile::new_in(&dir).map_err(Error::io("create a file in", &dir))?;
        Ok(BlobWriter {
            store: self.store.clone(),
            file,
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// Adds a blob from memory.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub fn add(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor> {
        let mut blob = self.blob()?;
        blob.write_all(bytes)
            .map_err(Error::io("write a blob in", &self.store.root))?;
        blob.finish(media_type)
    }

    /// Adds a blob from a reader; it must have the digest `expected`.
    ///
    /// # Errors
    ///
    /// The reader fails or returns another number of bytes, the digest differs, or the store cannot
    /// be written.
    pub fn add_checked(&self, expected: &Descriptor, from: impl Read) -> Result<Descriptor> {
        let mut blob = self.blob()?;
        // One byte more than declared is enough to detect a larger blob.
        let mut from = from.take(expected.size().saturating_add(1));
        copy(&mut from, &mut blob).map_err(Error::io("write a blob in", &self.store.root))?;
        blob.finish_as(expected)
    }

    /// Whether the store already has this blob.
    #[must_use]
    pub fn has(&self, blob: &Descriptor) -> bool {
        self.store.holds(blob)
    }

    /// Writes the configuration and the manifest, and adds the image as `entry`.
    ///
    /// # Errors
    ///
    /// A layer is missing in the store, the number of layers differs from the configuration's, or
    /// the store cannot be written.
    pub fn commit(
        &self,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        entry: &Entry,
    ) -> Result<StoredImage> {
        let json = serde_json::to_vec(config)
            .map_err(|error| Error::invalid("the configuration", error))?;
        self.commit_raw(&json, layers, entry)
    }

    /// [`Ingest::commit`] with the configuration's own bytes, so that its digest is preserved.
    ///
    /// # Errors
    ///
    /// As [`Ingest::commit`], and the bytes are not a configuration.
    pub fn commit_raw(
        &self,
        config: &[u8],
        layers: Vec<Descriptor>,
        entry: &Entry,
    ) -> Result<StoredImage> {
        let parsed: ImageConfig = serde_json::from_slice(config)
            .map_err(|error| Error::invalid("the configuration", error))?;
        if parsed.rootfs.diff_ids.len() != layers.len() {
            return Err(Error::invalid(
                "the configuration",
                format!(
                    "it mentions {} layers, and there are {}",
                    parsed.rootfs.diff_ids.len(),
                    layers.len()
                ),
            ));
        }
        if let Some(missing) = layers.iter().find(|layer| !self.has(layer)) {
            return Err(Error::invalid(
                missing.digest(),
                "the layer was not added to the store",
            ));
        }
        let config = self.add(config::MEDIA_TYPE.into(), config)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(layers)
            .build()
            .map_err(|error| Error::invalid("the manifest", error))?;
        // Serialized through a value, because its maps are ordered and oci-spec's are not.
        let json = serde_json::to_value(&manifest)
            .map_err(|error| Error::invalid("the manifest", error))?;
        let mut descriptor = self.add(MediaType::ImageManifest, json.to_string().as_bytes())?;
        descriptor.set_platform(Some(oci_platform(&parsed.platform())));
        let descriptor = self
            .store
            .change(|descriptors| upsert(descriptors, descriptor, entry))?;
        self.store
            .image(&descriptor)
            .ok_or_else(|| Error::invalid(descriptor.digest(), "it is not whole in the store"))
    }
}

/// A blob being written; it is removed unless it is finished.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
}

impl BlobWriter {
    /// Names the blob by its digest.
    ///
    /// # Errors
    ///
    /// The file cannot be written or renamed.
    pub fn finish(mut self, media_type: MediaType) -> Result<Descriptor> {
        let digest = sha256(std::mem::take(&mut self.hash))?;
        self.keep(media_type, digest)
    }

    /// Names the blob by its digest if that is `expected`.
    ///
    /// # Errors
    ///
    /// The digest differs, or the file cannot be written or renamed.
    pub fn finish_as(mut self, expected: &Descriptor) -> Result<Descriptor> {
        if self.size > expected.size() {
            return Err(Error::invalid(
                expected.digest(),
                format!(
                    "it is larger than the {} bytes that its descriptor announces",
                    expected.size()
                ),
            ));
        }
        let digest = sha256(std::mem::take(&mut self.hash))?;
        if digest != *expected.digest() {
            return Err(Error::invalid(
                expected.digest(),
                format!("its contents have another digest, {digest}; it was damaged on its way"),
            ));
        }
        check_size(self.size, expected)?;
        self.keep(expected.media_type().clone(), digest)
    }

    fn keep(mut self, media_type: MediaType, digest: Digest) -> Result<Descriptor> {
        let path = self.store.blob_path(&digest);
        let persist = || -> io::Result<()> {
            self.file.flush()?;
            make_readable(self.file.path())?;
            self.file.persist(&path)?;
            Ok(())
        };
        persist().map_err(Error::io("write", &path))?;
        DescriptorBuilder::default()
            .media_type(media_type)
            .digest(digest)
            .size(self.size)
            .build()
            .map_err(|error| Error::invalid("a descriptor", error))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A finished hash as a digest.
pub(crate) fn sha256(hash: Sha256) -> Result<Digest> {
    let text = format!("sha256:{}", hex(&hash.finalize()));
    text.parse().map_err(|error| Error::invalid(text, error))
}
