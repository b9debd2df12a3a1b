//! The image store: an OCI image layout that several processes may use concurrently.
//!
//! A directory in the layout of the OCI image specification (`oci-layout`, `index.json`,
//! `blobs/sha256/…`), readable by skopeo, podman and others. Each entry of the index may have a
//! name, the stack that uses it, and the hash of its source. Blobs are written to a temporary file
//! and renamed, so a blob is either complete or absent; the index is replaced in one rename, under
//! a file lock that the kernel releases when its holder dies for any reason.

mod archive;
mod blob;
mod ingest;
mod select;
mod zstd;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, Os};
use serde::{Deserialize, Serialize};

pub use ingest::{BlobWriter, Ingest};
pub use zstd::unzstd;

pub(crate) use blob::{blob_path, check_layout, open_regular, read_described, read_index};
pub(crate) use ingest::sha256;
#[cfg(feature = "registry")]
pub(crate) use select::is_index;
pub(crate) use select::{fits, select};

use crate::config::ImageConfig;
use crate::context::ContextHash;
use crate::request::Platform;
use crate::{Digest, Error, Result};

/// The annotation with the hash of the image's source.
pub const SOURCE: &str = "dev.landfall.source";
/// The annotation with the stack that uses the image.
pub const STACK: &str = "dev.landfall.stack";
/// The annotation with the image's name (the OCI specification's own).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image store in one directory. Cheap to clone; it has no open files and no cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// The purpose of a stored image. Two entries may refer to the same image.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Its name for lookups.
    pub name: Option<String>,
    /// The stack that uses it.
    pub stack: Option<String>,
    /// The hash of its source.
    pub source: Option<ContextHash>,
}

/// An entry of the store, and its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// Its entry.
    pub entry: Entry,
    /// The digest of its manifest.
    pub manifest_digest: Digest,
    /// The digest of its configuration.
    pub config_digest: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// Its platform.
    pub platform: Platform,
}

/// One layer of a stored image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the blob.
    pub digest: Digest,
    /// The media type, which includes the compression.
    pub media_type: String,
    /// The blob's size in bytes.
    pub size: u64,
}

/// The result of [`Store::collect`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// The number of removed blobs.
    pub blobs: usize,
    /// Their total size in bytes.
    pub bytes: u64,
    /// An image was being added, so nothing was collected.
    pub busy: bool,
}

impl Store {
    /// Opens the store in `root`, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, or its content is not an OCI layout of version 1.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { root: root.into() };
        for dir in [store.blobs(), store.incoming()] {
            fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        }
        let marker = store.root.join("oci-layout");
        if !marker.exists() {
            // Every process writes the same bytes, so the order does not matter.
            store.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        check_layout(&store.root)?;
        store.sweep();
        Ok(store)
    }

    /// Removes the leftovers of dead processes in `incoming`. While an image is being added, its
    /// files stay: the next call removes leftovers. A file that cannot be removed only costs space,
    /// so no error is returned.
    fn sweep(&self) {
        let is_empty = fs::read_dir(self.incoming()).is_ok_and(|mut files| files.next().is_none());
        if is_empty {
            return;
        }
        let Ok(lock) = self.open_lock("ingest.lock") else {
            return;
        };
        if lock.try_lock().is_err() {
            return;
        }
        for file in fs::read_dir(self.incoming())
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = remove_any(&file);
        }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the blob with `digest`, if it exists.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.root, digest)
    }

    /// Starts to add an image. Its blobs are not collected as long as the returned value exists.
    ///
    /// # Errors
    ///
    /// The store's lock file cannot be opened.
    pub fn ingest(&self) -> Result<Ingest> {
        Ingest::start(self)
    }

    /// Adds the image in a tar archive: the output of `docker save` and `podman save`, in the
    /// archive format of either or as an OCI layout. `platform` selects one of several images.
    ///
    /// # Errors
    ///
    /// The archive cannot be read, has neither format, lacks a referenced blob, or contains a blob
    /// whose contents do not match its digest.
    pub fn import(
        &self,
        archive: impl std::io::Read,
        platform: &Platform,
        entry: Entry,
    ) -> Result<StoredImage> {
        archive::import(self, archive, platform, entry)
    }

    /// The image built from `source`, if it is stored completely.
    ///
    /// # Errors
    ///
    /// The index cannot be read.
    pub fn find(&self, source: &ContextHash) -> Result<Option<StoredImage>> {
        self.first(|entry| entry.source.as_ref() == Some(source))
    }

    /// The image named `name`, if it is stored completely.
    ///
    /// # Errors
    ///
    /// The index cannot be read.
    pub fn find_named(&self, name: &str) -> Result<Option<StoredImage>> {
        self.first(|entry| entry.name.as_deref() == Some(name))
    }

    /// The image with this manifest, if it is stored completely.
    ///
    /// # Errors
    ///
    /// The index cannot be read.
    pub fn find_digest(&self, manifest: &Digest) -> Result<Option<StoredImage>> {
        Ok(self
            .list()?
            .into_iter()
            .find(|image| image.manifest_digest == *manifest))
    }

    fn first(&self, wanted: impl Fn(&Entry) -> bool) -> Result<Option<StoredImage>> {
        Ok(self.list()?.into_iter().find(|image| wanted(&image.entry)))
    }

    /// Every entry with a complete image, ordered by entry. An image with a missing blob (deleted
    /// by somebody) is skipped: it is unusable, and a new build repairs it.
    ///
    /// # Errors
    ///
    /// The index cannot be read.
    pub fn list(&self) -> Result<Vec<StoredImage>> {
        let index = self.index()?;
        let mut images: Vec<StoredImage> = index
            .manifests()
            .iter()
            .filter_map(|item| self.image(item))
            .collect();
        images.sort_by(|a, b| {
            (&a.entry, a.manifest_digest.as_ref()).cmp(&(&b.entry, b.manifest_digest.as_ref()))
        });
        Ok(images)
    }

    /// Adds an entry for a stored image. An equal entry for another image is replaced.
    ///
    /// # Errors
    ///
    /// The image does not exist, or the index cannot be written.
    pub fn tag(&self, manifest: &Digest, entry: &Entry) -> Result<StoredImage> {
        let _ingest = self.ingest()?;
        let descriptor = self.change(|descriptors| {
            let known = descriptors
                .iter()
                .find(|item| item.digest() == manifest)?
                .clone();
            Some(upsert(descriptors, known, entry))
        })?;
        descriptor
            .and_then(|descriptor| self.image(&descriptor))
            .ok_or_else(|| {
                Error::invalid(
                    manifest,
                    format!("the store {} does not hold it", self.root.display()),
                )
            })
    }

    /// Removes the entries that `unwanted` selects, then collects unreferenced blobs. Returns the
    /// removed entries.
    ///
    /// # Errors
    ///
    /// The index cannot be written, or a blob cannot be removed.
    pub fn remove(&self, unwanted: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>> {
        let removed = self.change(|descriptors| {
            let (out, keep): (Vec<_>, Vec<_>) = descriptors
                .drain(..)
                .partition(|item| unwanted(&entry_of(item)));
            *descriptors = keep;
            out.iter().map(entry_of).collect()
        })?;
        self.collect()?;
        Ok(removed)
    }

    /// Removes blobs without a reference. Does nothing while an image is being added: the next call
    /// finds the same blobs.
    ///
    /// # Errors
    ///
    /// The index cannot be read, or a file cannot be removed.
    pub fn collect(&self) -> Result<Collected> {
        let lock = self.open_lock("ingest.lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Ok(Collected {
                    busy: true,
                    ..Collected::default()
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::Io {
                    doing: "lock",
                    path: self.root.join("ingest.lock"),
                    source,
                });
            }
        }
        let mut mentioned = BTreeSet::new();
        for item in self.index()?.manifests() {
            mentioned.insert(item.digest().digest().to_owned());
            if let Ok(manifest) = self.manifest(item.digest()) {
                mentioned.insert(manifest.config().digest().digest().to_owned());
                mentioned.extend(
                    manifest
                        .layers()
                        .iter()
                        .map(|layer| layer.digest().digest().to_owned()),
                );
            }
        }
        let mut collected = Collected::default();
        // No image is being added, so the files in `incoming` are leftovers of a dead process.
        for dir in [self.blobs(), self.incoming()] {
            for file in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
                let file = file.map_err(Error::io("list", &dir))?;
                if mentioned.contains(&*file.file_name().to_string_lossy()) {
                    continue;
                }
                let size = file.metadata().map_or(0, |metadata| metadata.len());
                remove_any(&file).map_err(Error::io("remove", file.path()))?;
                collected.blobs += 1;
                collected.bytes += size;
            }
        }
        Ok(collected)
    }

    /// Removes the blob with `digest` if its contents do not match, and returns whether it did.
    /// After that, no image with this blob is complete, so the next build creates it again. Does
    /// nothing while an image is being added, because it may use the blob.
    ///
    /// # Errors
    ///
    /// The store's lock cannot be opened, or the blob cannot be read or removed.
    pub fn discard_damaged(&self, digest: &Digest) -> Result<bool> {
        let lock = self.open_lock("ingest.lock")?;
        if lock.try_lock().is_err() {
            return Ok(false);
        }
        let path = self.blob_path(digest);
        if !blob::is_damaged(&path, digest)? {
            return Ok(false);
        }
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        Ok(true)
    }

    /// The manifest with `digest`.
    ///
    /// # Errors
    ///
    /// It does not exist, its contents do not match the digest, or it is not a manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<ImageManifest> {
        self.json(digest)
    }

    /// The configuration with `digest`.
    ///
    /// # Errors
    ///
    /// It does not exist, its contents do not match the digest, or it is not a configuration.
    pub fn config(&self, digest: &Digest) -> Result<ImageConfig> {
        self.json(digest)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> Result<T> {
        let bytes = blob::read_blob(&self.root, digest)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(digest, error))
    }

    /// Whether a file of the declared size exists. Its contents are checked when it is unpacked or
    /// sent.
    fn holds(&self, blob: &Descriptor) -> bool {
        fs::symlink_metadata(self.blob_path(blob.digest()))
            .is_ok_and(|file| file.is_file() && file.len() == blob.size())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    /// The directory of blobs that have no name yet.
    fn incoming(&self) -> PathBuf {
        self.root.join("incoming")
    }

    fn open_lock(&self, name: &str) -> Result<File> {
        let path = self.root.join(name);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open the lock", &path))
    }

    fn index(&self) -> Result<ImageIndex> {
        read_index(&self.root).map_err(|error| match error {
            Error::InvalidImage { problem, .. } => Error::DamagedStore {
                root: self.root.clone(),
                problem: format!("its index.json cannot be read: {problem}"),
            },
            other => other,
        })
    }

    /// Changes the index under its lock. The lock is held for reading and writing one small file.
    fn change<T>(&self, edit: impl FnOnce(&mut Vec<Descriptor>) -> T) -> Result<T> {
        let lock = self.open_lock("index.lock")?;
        lock.lock()
            .map_err(Error::io("lock", self.root.join("index.lock")))?;
        let mut index = self.index()?;
        let mut manifests = index.manifests().clone();
        let result = edit(&mut manifests);
        if *index.manifests() != manifests {
            index.set_manifests(manifests);
            // Serialized through a value, because its maps are ordered and oci-spec's are not.
            let value = serde_json::to_value(&index)
                .map_err(|error| Error::invalid("index.json", error))?;
            self.replace(&self.root.join("index.json"), value.to_string().as_bytes())?;
        }
        Ok(result)
    }

    /// Writes a file in one step: readers see the old contents or the new ones.
    fn replace(&self, path: &Path, contents: &[u8]) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
            file.write_all(contents)?;
            make_readable(file.path())?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(Error::io("write", path))
    }

    /// The entry `item` with its image, if the image is complete.
    fn image(&self, item: &Descriptor) -> Option<StoredImage> {
        let manifest = self.manifest(item.digest()).ok()?;
        let whole = |blob: &Descriptor| self.holds(blob);
        if !whole(manifest.config()) || !manifest.layers().iter().all(whole) {
            return None;
        }
        let platform = self.config(manifest.config().digest()).ok()?.platform();
        Some(StoredImage {
            entry: entry_of(item),
            manifest_digest: item.digest().clone(),
            config_digest: manifest.config().digest().clone(),
            layers: manifest.layers().iter().map(Layer::of).collect(),
            platform,
        })
    }
}

impl Layer {
    fn of(descriptor: &Descriptor) -> Self {
        Self {
            digest: descriptor.digest().clone(),
            media_type: descriptor.media_type().to_string(),
            size: descriptor.size(),
        }
    }
}

/// The entry in a descriptor's annotations.
pub(crate) fn entry_of(descriptor: &Descriptor) -> Entry {
    let get = |key: &str| {
        descriptor
            .annotations()
            .as_ref()
            .and_then(|annotations| annotations.get(key))
            .cloned()
    };
    Entry {
        name: get(REF_NAME),
        stack: get(STACK),
        source: get(SOURCE).and_then(|text| text.parse().ok()),
    }
}

/// Sets `descriptor` as `entry`; replaces an equal entry.
fn upsert(
    descriptors: &mut Vec<Descriptor>,
    mut descriptor: Descriptor,
    entry: &Entry,
) -> Descriptor {
    let mut annotations = BTreeMap::new();
    annotations.extend(entry.name.clone().map(|name| (REF_NAME.to_owned(), name)));
    annotations.extend(entry.stack.clone().map(|stack| (STACK.to_owned(), stack)));
    annotations.extend(
        entry
            .source
            .clone()
            .map(|source| (SOURCE.to_owned(), source.into())),
    );
    descriptor.set_annotations(Some(annotations.into_iter().collect()));
    descriptors.retain(|item| entry_of(item) != *entry);
    descriptors.push(descriptor.clone());
    descriptor
}

/// Removes a file, or a directory with its contents.
fn remove_any(entry: &fs::DirEntry) -> std::io::Result<()> {
    if entry.file_type()?.is_dir() {
        fs::remove_dir_all(entry.path())
    } else {
        fs::remove_file(entry.path())
    }
}

/// A platform in oci-spec's form.
pub(crate) fn oci_platform(platform: &Platform) -> oci_spec::image::Platform {
    let mut oci = oci_spec::image::Platform::default();
    oci.set_os(Os::from(platform.os.as_str()))
        .set_architecture(Arch::from(platform.arch.as_str()))
        .set_variant(platform.variant.clone());
    oci
}

/// Temporary files are readable by their owner only; a store may be shared.
#[cfg(unix)]
fn make_readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
