//! Where images are kept: an OCI image layout that several processes use at once.
//!
//! A directory as the OCI image specification lays it out (`oci-layout`, `index.json`, `blobs/sha256/…`), so
//! that skopeo, podman and others read it. Each entry of the index may carry a name, the stack that uses it,
//! and the hash of what it was built from. Blobs are written to a temporary file and renamed, so a blob is
//! whole or not there; the index is replaced in one rename, under a file lock that the kernel releases when
//! its holder dies, however it dies.

mod archive;
mod blob;
mod ingest;
mod select;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, Os};
use serde::{Deserialize, Serialize};

pub use ingest::{BlobWriter, Ingest};

pub(crate) use blob::{blob_path, check_layout, open_regular, read_described, read_index};
pub(crate) use ingest::sha256;
#[cfg(feature = "registry")]
pub(crate) use select::is_index;
pub(crate) use select::{fits, select};

use crate::config::ImageConfig;
use crate::context::ContextHash;
use crate::request::Platform;
use crate::{Digest, Error, Result};

/// The annotation of an entry that holds what the image was built from.
pub const SOURCE: &str = "dev.landfall.source";
/// The annotation of an entry that holds the stack that uses the image.
pub const STACK: &str = "dev.landfall.stack";
/// The annotation of an entry that holds the image's name (the OCI specification's own).
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image store in one directory. Cheap to clone; holds no open files and no cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// What an image is kept for. Two entries may mention the same image.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// A name to find it by.
    pub name: Option<String>,
    /// The stack that uses it.
    pub stack: Option<String>,
    /// What it was built from.
    pub source: Option<ContextHash>,
}

/// An entry of the store, and the image that it mentions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// What it is kept for.
    pub entry: Entry,
    /// The digest of its manifest.
    pub manifest_digest: Digest,
    /// The digest of its configuration.
    pub config_digest: Digest,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// What it runs on.
    pub platform: Platform,
}

/// One layer of a stored image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the blob.
    pub digest: Digest,
    /// The media type, which says how it is compressed.
    pub media_type: String,
    /// The blob's size in bytes.
    pub size: u64,
}

/// What [`Store::collect`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// How many blobs were removed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Somebody was adding an image, so nothing was looked at.
    pub busy: bool,
}

impl Store {
    /// Opens the store in `root`, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, or holds something that is not an OCI layout of version 1.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { root: root.into() };
        for dir in [store.blobs(), store.incoming()] {
            fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        }
        let marker = store.root.join("oci-layout");
        if !marker.exists() {
            // Everybody writes the same bytes, so it does not matter who is last.
            store.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        check_layout(&store.root)?;
        store.sweep();
        Ok(store)
    }

    /// Removes what a process that died has left in `incoming`. While somebody adds an image, its files stay: the next
    /// call finds what is left. A file that cannot be removed costs space and nothing else, so no error is given.
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

    /// Where the blob with `digest` is, if it is there.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.root, digest)
    }

    /// Starts adding an image. Blobs added through it are not collected as long as it lives.
    ///
    /// # Errors
    ///
    /// The store's lock file cannot be opened.
    pub fn ingest(&self) -> Result<Ingest> {
        Ingest::start(self)
    }

    /// Adds the image in a tar archive: what `docker save` and `podman save` write, in the archive format
    /// of either or as an OCI layout. `platform` selects from an archive with several.
    ///
    /// # Errors
    ///
    /// The archive cannot be read, is neither format, lacks a blob that it mentions, or has a blob whose
    /// contents do not match its digest.
    pub fn import(
        &self,
        archive: impl std::io::Read,
        platform: &Platform,
        entry: Entry,
    ) -> Result<StoredImage> {
        archive::import(self, archive, platform, entry)
    }

    /// The image built from `source`, if it is here and whole.
    ///
    /// # Errors
    ///
    /// The index cannot be read.
    pub fn find(&self, source: &ContextHash) -> Result<Option<StoredImage>> {
        self.first(|entry| entry.source.as_ref() == Some(source))
    }

    /// The image named `name`, if it is here and whole.
    ///
    /// # Errors
    ///
    /// The index cannot be read.
    pub fn find_named(&self, name: &str) -> Result<Option<StoredImage>> {
        self.first(|entry| entry.name.as_deref() == Some(name))
    }

    /// The image with this manifest, if it is here and whole.
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

    /// Every entry whose image is whole, ordered by entry. An image that lacks a blob (somebody deleted it)
    /// is passed over: it cannot be used, and building it again repairs it.
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

    /// Adds an entry for an image that is already here. An equal entry that mentions another image is
    /// replaced.
    ///
    /// # Errors
    ///
    /// There is no such image, or the index cannot be written.
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

    /// Takes out the entries that `unwanted` picks, then collects what nobody mentions any more. Gives the
    /// entries that were taken out.
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

    /// Removes blobs that no entry mentions. Does nothing while somebody is adding an image: the next call
    /// will find the same blobs.
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
        // Nobody is adding an image, so what is in `incoming` was left there by a process that died.
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

    /// Removes the blob with `digest` if its contents have another digest, and says whether it did. After that, no
    /// image that mentions it is whole, so the next build makes it again. Does nothing while somebody adds an image,
    /// who may count on the blob.
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
    /// It is not here, its contents have another digest, or it is not a manifest.
    pub fn manifest(&self, digest: &Digest) -> Result<ImageManifest> {
        self.json(digest)
    }

    /// The configuration with `digest`.
    ///
    /// # Errors
    ///
    /// It is not here, its contents have another digest, or it is not a configuration.
    pub fn config(&self, digest: &Digest) -> Result<ImageConfig> {
        self.json(digest)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> Result<T> {
        let bytes = blob::read_blob(&self.root, digest)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(digest, error))
    }

    /// Whether there is a file of the announced size. Its contents are checked by whoever unpacks or sends it.
    fn holds(&self, blob: &Descriptor) -> bool {
        fs::symlink_metadata(self.blob_path(blob.digest()))
            .is_ok_and(|file| file.is_file() && file.len() == blob.size())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    /// Where blobs are written before they have their name.
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

    /// Changes the index under its lock. The lock is held for a read and a write of one small file.
    fn change<T>(&self, edit: impl FnOnce(&mut Vec<Descriptor>) -> T) -> Result<T> {
        let lock = self.open_lock("index.lock")?;
        lock.lock()
            .map_err(Error::io("lock", self.root.join("index.lock")))?;
        let mut index = self.index()?;
        let mut manifests = index.manifests().clone();
        let result = edit(&mut manifests);
        if *index.manifests() != manifests {
            index.set_manifests(manifests);
            // Through a value, because its maps are ordered and oci-spec's are not.
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

    /// The entry `item` with its image, if the image is whole.
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

/// The entry that a descriptor's annotations say.
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

/// Enters `descriptor` as `entry`, instead of an equal entry if there is one.
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

/// Removes a file, or a directory with all that is in it.
fn remove_any(entry: &fs::DirEntry) -> std::io::Result<()> {
    if entry.file_type()?.is_dir() {
        fs::remove_dir_all(entry.path())
    } else {
        fs::remove_file(entry.path())
    }
}

/// A platform as oci-spec writes it.
pub(crate) fn oci_platform(platform: &Platform) -> oci_spec::image::Platform {
    let mut oci = oci_spec::image::Platform::default();
    oci.set_os(Os::from(platform.os.as_str()))
        .set_architecture(Arch::from(platform.arch.as_str()))
        .set_variant(platform.variant.clone());
    oci
}

/// Temporary files are made for their owner alone; a store may be shared.
#[cfg(unix)]
fn make_readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
