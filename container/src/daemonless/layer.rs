//! Layers: reading them into a [`Tree`], and writing them from one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use oci_spec::image::{Descriptor, MediaType};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::budget::Budget;
use super::decompress::Format;
use super::tree::{Content, Kind, Node, Tree};
use crate::context::{HashWriter, copy};
use crate::ignore::clean;
use crate::store::{Ingest, Store, sha256};
use crate::{Digest, Error, Result};

/// The compression level. Layers are compressed for the transfer to a registry; most of the gain is
/// in the first levels, most of the time in the last.
const LEVEL: u32 = 4;

/// Opens a layer as a tar archive.
pub(super) fn open(store: &Store, layer: &Descriptor) -> Result<Box<dyn Read>> {
    let path = store.blob_path(layer.digest());
    let file = File::open(&path).map_err(Error::io("read the layer", &path))?;
    let file = io::BufReader::with_capacity(128 * 1024, file);
    match layer.media_type() {
        MediaType::ImageLayer => Ok(Box::new(file)),
        MediaType::ImageLayerGzip => Ok(Format::Gzip.reader(file)),
        MediaType::ImageLayerZstd => Ok(Format::Zstd.reader(file)),
        other => Err(Error::invalid(
            layer.digest(),
            format!(
                "the daemonless builder reads plain, gzip and zstd layers, and this one is {other}; an engine reads it"
            ),
        )),
    }
}

/// Applies the layer to `tree`: its files replace existing ones, its whiteouts remove them.
///
/// Rules: OCI image specification, "Image Layer Filesystem Changeset". The layers of one image share a budget.
pub(super) fn apply(
    store: &Store,
    layer: &Descriptor,
    tree: &mut Tree,
    budget: &Budget,
) -> Result<()> {
    let broken = |source| Error::Io {
        doing: "read the layer",
        path: store.blob_path(layer.digest()),
        source,
    };
    let mut archive = tar::Archive::new(budget.reader(open(store, layer)?));
    // The files of this layer; whiteouts only affect lower layers.
    let mut own = BTreeSet::new();
    for (number, entry) in archive.entries().map_err(broken)?.enumerate() {
        let entry = entry.map_err(broken)?;
        budget.entry(&entry).map_err(broken)?;
        let Some(path) = inside(&String::from_utf8_lossy(&entry.path_bytes())) else {
            continue;
        };
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == ".wh..wh..opq" {
            let below: Vec<String> = tree.below(dir).map(|(path, _)| path.to_owned()).collect();
            below
                .iter()
                .filter(|path| !own.contains(*path))
                .for_each(|path| tree.remove(path));
            continue;
        }
        if let Some(gone) = name.strip_prefix(".wh.") {
            let gone = if dir.is_empty() {
                gone.to_owned()
            } else {
                format!("{dir}/{gone}")
            };
            if !own.contains(&gone) {
                tree.remove(&gone);
            }
            continue;
        }
        let content = Content::Layer {
            digest: layer.digest().clone(),
            entry: number,
        };
        let Some(node) = node(&entry, content, tree).map_err(broken)? else {
            continue;
        };
        let replaces =
            tree.get(&path).is_some_and(|old| old.is_directory()) && !node.is_directory();
        if replaces {
            tree.remove_below(&path);
        }
        tree.put(&path, node);
        own.insert(path);
    }
    Ok(())
}

/// The node of an archive entry; `None` for entries that are not files of any kind. A hard link is
/// another name for a node of `tree`.
pub(super) fn node<R: Read>(
    entry: &tar::Entry<'_, R>,
    content: Content,
    tree: &Tree,
) -> io::Result<Option<Node>> {
    let header = entry.header();
    let kind = match header.entry_type() {
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            Kind::File {
                content,
                size: entry.size(),
            }
        }
        tar::EntryType::Directory => Kind::Directory,
        tar::EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default();
            Kind::Symlink {
                target: String::from_utf8_lossy(&target).into_owned(),
            }
        }
        tar::EntryType::Link => {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = inside(&String::from_utf8_lossy(&target));
            return Ok(target.and_then(|target| tree.get(&target)));
        }
        entry @ (tar::EntryType::Char | tar::EntryType::Block | tar::EntryType::Fifo) => {
            let number = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
            Kind::Special {
                entry: entry.as_byte(),
                major: number(header.device_major()),
                minor: number(header.device_minor()),
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(Node {
        kind,
        mode: header.mode()? & 0o7777,
        uid: header.uid()?,
        gid: header.gid()?,
    }))
}

/// A name of an archive as a path of a tree; `None` if it is outside the archive's root.
pub(super) fn inside(name: &str) -> Option<String> {
    let path = clean(name);
    match path.trim_start_matches('/') {
        "." => Some(String::new()),
        path if path == ".." || path.starts_with("../") => None,
        path => Some(path.to_owned()),
    }
}

/// Reads file contents from any source. Contents inside layers are unpacked once, to a directory
/// that is removed with this value.
pub(super) struct Contents {
    layers: BTreeMap<String, (Store, Descriptor)>,
    spool: TempDir,
    unpacked: BTreeMap<(String, usize), PathBuf>,
}

impl Contents {
    pub(super) fn new() -> Result<Self> {
        let spool = tempfile::tempdir()
            .map_err(Error::io("create a directory in", std::env::temp_dir()))?;
        Ok(Self {
            layers: BTreeMap::new(),
            spool,
            unpacked: BTreeMap::new(),
        })
    }

    /// A directory for files with the lifetime of the build.
    pub(super) fn spool(&self) -> &Path {
        self.spool.path()
    }

    /// Registers the contents of a layer of `store`.
    pub(super) fn add_layer(&mut self, store: &Store, layer: &Descriptor) {
        self.layers
            .insert(layer.digest().to_string(), (store.clone(), layer.clone()));
    }

    /// Unpacks those `contents` that are in layers, with one pass over each layer. [`apply`] has
    /// read these layers before, within a budget.
    pub(super) fn fetch<'c>(&mut self, contents: impl Iterator<Item = &'c Content>) -> Result<()> {
        let mut wanted: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for content in contents {
            if let Content::Layer { digest, entry } = content
                && !self.unpacked.contains_key(&(digest.to_string(), *entry))
            {
                wanted.entry(digest.to_string()).or_default().insert(*entry);
            }
        }
        for (digest, numbers) in wanted {
            let (store, layer) = self
                .layers
                .get(&digest)
                .ok_or_else(|| Error::invalid(&digest, "the layer is not known"))?;
            let path = store.blob_path(layer.digest());
            let broken = |source| Error::Io {
                doing: "read the layer",
                path: path.clone(),
                source,
            };
            let mut archive = tar::Archive::new(open(store, layer)?);
            for (number, entry) in archive.entries().map_err(broken)?.enumerate() {
                let mut entry = entry.map_err(broken)?;
                if numbers.contains(&number) {
                    let to = self
                        .spool
                        .path()
                        .join(format!("{}-{number}", layer.digest().digest()));
                    let mut file = File::create(&to).map_err(Error::io("create", &to))?;
                    copy(&mut entry, &mut file)
                        .map_err(Error::io("unpack a layer's file to", &to))?;
                    self.unpacked.insert((digest.clone(), number), to);
                }
            }
        }
        Ok(())
    }

    /// Opens a content; one in a layer must have been fetched.
    pub(super) fn open<'c>(&self, content: &'c Content) -> Result<Box<dyn Read + 'c>> {
        let path = match content {
            Content::Bytes(bytes) => return Ok(Box::new(bytes.as_slice())),
            Content::File(path) => path,
            Content::Layer { digest, entry } => self
                .unpacked
                .get(&(digest.to_string(), *entry))
                .ok_or_else(|| {
                    Error::invalid(digest, format!("its entry {entry} was not unpacked"))
                })?,
        };
        Ok(Box::new(File::open(path).map_err(Error::io("read", path))?))
    }

    /// A small file's bytes, or `None` if it does not exist.
    pub(super) fn read(&mut self, tree: &Tree, path: &str) -> Result<Option<Vec<u8>>> {
        let resolved = tree.resolve(path, true).unwrap_or_default();
        let Some(Node {
            kind: Kind::File { content, .. },
            ..
        }) = tree.get(&resolved)
        else {
            return Ok(None);
        };
        self.fetch(std::iter::once(&content))?;
        let mut bytes = Vec::new();
        self.open(&content)?
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", Path::new(path)))?;
        Ok(Some(bytes))
    }
}

/// A layer in the store.
pub(super) struct Written {
    pub(super) descriptor: Descriptor,
    /// The digest of the uncompressed archive.
    pub(super) diff_id: Digest,
}

/// Writes the paths `changed` of `tree` as a layer. The bytes depend only on those files and on
/// `epoch`, the modification time of all of them in seconds.
pub(super) fn write(
    ingest: &Ingest,
    contents: &mut Contents,
    tree: &Tree,
    changed: &BTreeSet<String>,
    epoch: u64,
) -> Result<Written> {
    let nodes: Vec<(&String, Node)> = changed
        .iter()
        .filter_map(|path| Some((path, tree.get(path)?)))
        .collect();
    contents.fetch(nodes.iter().filter_map(|(_, node)| match &node.kind {
        Kind::File { content, .. } => Some(content),
        _ => None,
    }))?;

    let mut diff_id = Sha256::new();
    // The gzip header contains a time and an operating system; both are fixed.
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(ingest.blob()?, Compression::new(LEVEL));
    let mut tar = tar::Builder::new(Tee {
        one: gzip,
        other: HashWriter(&mut diff_id),
    });
    for (path, node) in nodes.iter().filter(|(path, _)| !path.is_empty()) {
        append(&mut tar, contents, path, node, epoch)?;
    }
    let written = || -> io::Result<_> { tar.into_inner()?.one.finish() };
    let blob = written().map_err(Error::io("write a layer for", contents.spool()))?;
    Ok(Written {
        descriptor: blob.finish(MediaType::ImageLayerGzip)?,
        diff_id: sha256(diff_id)?,
    })
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    contents: &Contents,
    path: &str,
    node: &Node,
    epoch: u64,
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(node.mode);
    header.set_uid(node.uid);
    header.set_gid(node.gid);
    header.set_mtime(epoch);
    header.set_size(0);
    let result = match &node.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Kind::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)
        }
        Kind::File { content, size } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(*size);
            let mut content = contents.open(content)?.take(*size);
            let result = tar.append_data(&mut header, path, &mut content);
            match content.limit() {
                0 => result,
                _ => result.and(Err(io::Error::other(
                    "the file became shorter while it was read",
                ))),
            }
        }
        Kind::Special {
            entry,
            major,
            minor,
        } => {
            header.set_entry_type(tar::EntryType::new(*entry));
            header
                .set_device_major(*major)
                .and_then(|()| header.set_device_minor(*minor))
                .and_then(|()| tar.append_data(&mut header, path, io::empty()))
        }
    };
    result.map_err(Error::io("add to a layer", Path::new(path)))
}

/// A writer to two destinations.
struct Tee<A, B> {
    one: A,
    other: B,
}

impl<A: Write, B: Write> Write for Tee<A, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.one.write(bytes)?;
        self.other.write_all(&bytes[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.one.flush()?;
        self.other.flush()
    }
}
