//! The layers of an image, applied one over the other to a folder.
//!
//! The rules are those of the OCI image specification, "Image Layer Filesystem Changeset". Paths and links of an
//! archive are not trusted: all lookups use [`Rooted`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::bufread::MultiGzDecoder;
use landfall_container::HeaderLimit;
use landfall_container::store::unzstd;
use nix::sys::stat::{Mode, mode_t};
use tar::{Archive, Entry, EntryType, Header};

use landfall_kernel::rooted::{Rooted, normal, through};

/// The prefix of a file that a layer deletes.
const WHITEOUT: &[u8] = b".wh.";
/// The mark of a folder that a layer empties.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The limits on an unpacked image. A layer of a few megabytes can contain terabytes of zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The unpacked bytes of all layers, including replaced files.
    pub(super) bytes: u64,
    /// The entries of all layers.
    pub(super) entries: u64,
}

impl Limits {
    /// 16 GiB and a million entries, and at most nine tenths of the free space on the disk of `folder`.
    pub(super) fn on(folder: &Path) -> io::Result<Self> {
        let disk = nix::sys::statvfs::statvfs(folder)?;
        let free = disk.blocks_available().saturating_mul(disk.fragment_size());
        Ok(Self {
            bytes: (16 << 30).min(free / 10 * 9),
            entries: 1_000_000,
        })
    }
}

/// A reader that fails after the allowed number of bytes.
struct Limited<'a, R> {
    source: R,
    left: &'a mut u64,
    limit: u64,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let left = self.left.checked_sub(length as u64);
        *self.left = left.ok_or_else(|| too_large(self.limit))?;
        Ok(length)
    }
}

/// The files of an image while layers are applied.
pub(super) struct Tree {
    root: Rooted,
    limits: Limits,
    /// The rest of the limits.
    left: Limits,
    /// The final attributes of folders. Until the end, their owner can write to all of them.
    folders: BTreeMap<PathBuf, Attributes>,
}

/// The attributes of a file in a tar header.
#[derive(Clone, Copy)]
struct Attributes {
    mode: u32,
    owner: Option<(u32, u32)>,
    modified: SystemTime,
}

impl Attributes {
    fn read(header: &Header) -> io::Result<Self> {
        let id = |number: u64| {
            u32::try_from(number).map_err(|_| invalid("an owner's number is too big"))
        };
        Ok(Self {
            mode: header.mode()? & 0o7777,
            // Only root can change owners.
            owner: if nix::unistd::geteuid().is_root() {
                Some((id(header.uid()?)?, id(header.gid()?)?))
            } else {
                None
            },
            modified: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(header.mtime()?))
                .unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    fn set_owner(&self, path: &Path) -> io::Result<()> {
        let Some((uid, gid)) = self.owner else {
            return Ok(());
        };
        match lchown(path, Some(uid), Some(gid)) {
            // The user namespace does not have this user.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(()),
            result => result,
        }
    }

    /// Sets all attributes; `path` is not a link.
    fn set(&self, path: &Path) -> io::Result<()> {
        self.set_owner(path)?;
        // After the owner, because a change of owner removes the set-user-ID bit.
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
    }
}

impl Tree {
    /// Starts in an empty folder.
    pub(super) fn new(root: &Path, limits: Limits) -> io::Result<Self> {
        fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            root: Rooted::open(root)?,
            limits,
            left: limits,
            folders: BTreeMap::new(),
        })
    }

    /// Applies a layer: a tar archive, plain or compressed with gzip.
    pub(super) fn apply(&mut self, blob: &mut impl Read) -> io::Result<()> {
        let mut blob = BufReader::with_capacity(1 << 16, blob);
        match blob.fill_buf()? {
            [0x1f, 0x8b, ..] => self.archive(MultiGzDecoder::new(blob)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => self.archive(unzstd(blob)),
            _ => self.archive(blob),
        }
    }

    fn archive(&mut self, source: impl Read) -> io::Result<()> {
        // The files of this layer: its own whiteouts apply only to lower layers.
        let mut fresh = BTreeSet::new();
        let (limits, before) = (self.limits, self.left.bytes);
        let mut left = before;
        let source = Limited {
            source,
            left: &mut left,
            limit: limits.bytes,
        };
        let headers = HeaderLimit::default();
        for entry in Archive::new(headers.reader(source)).entries()? {
            let mut entry = entry?;
            headers.entry(&entry)?;
            self.left.entries = self.left.entries.checked_sub(1).ok_or_else(|| {
                invalid(&format!("the image has more than {} files", limits.entries))
            })?;
            let path = entry.path()?.into_owned();
            self.entry(&mut entry, &path, &mut fresh).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
        }
        self.take(before - left)
    }

    /// Counts bytes of the image.
    fn take(&mut self, bytes: u64) -> io::Result<()> {
        let left = self.left.bytes.checked_sub(bytes);
        self.left.bytes = left.ok_or_else(|| too_large(self.limits.bytes))?;
        Ok(())
    }

    fn entry<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &Path,
        fresh: &mut BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = normal(path)?;
        let Some(name) = path.file_name() else {
            self.folders.insert(path, Attributes::read(entry.header())?);
            return Ok(());
        };
        if name.as_bytes() == OPAQUE {
            return self.empty(path.parent().unwrap_or(Path::new("")), fresh);
        }
        if let Some(name) = name.as_bytes().strip_prefix(WHITEOUT) {
            // Other names with a double mark are leftovers of aufs.
            let plain =
                !name.is_empty() && !name.starts_with(WHITEOUT) && name != b"." && name != b"..";
            let victim = path.with_file_name(std::ffi::OsStr::from_bytes(name));
            return if plain && !fresh.contains(&victim) {
                self.remove(&victim)
            } else {
                Ok(())
            };
        }
        let attributes = Attributes::read(entry.header())?;
        fresh.extend(path.ancestors().skip(1).map(Path::to_owned));
        let (_dir, at) = self.root.parent(&path)?;
        let there = fs::symlink_metadata(&at).ok();
        if kind == EntryType::Directory && there.as_ref().is_some_and(fs::Metadata::is_dir) {
            self.folders.insert(path.clone(), attributes);
            fresh.insert(path);
            return Ok(());
        }
        if there.is_some() {
            self.remove(&path)?;
        }
        match kind {
            EntryType::Directory => {
                fs::create_dir(&at)?;
                self.folders.insert(path.clone(), attributes);
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                if kind == EntryType::GNUSparse {
                    // The archive omits the holes of a sparse file, but they are written to the disk.
                    self.take(entry.size())?;
                }
                let mut file = File::options()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&at)?;
                io::copy(entry, &mut file)?;
                attributes.set(&at)?;
                file.set_times(FileTimes::new().set_modified(attributes.modified))?;
            }
            EntryType::Symlink => {
                let target = entry
                    .link_name()?
                    .ok_or_else(|| invalid("a link to nowhere"))?;
                symlink(target, &at)?;
                attributes.set_owner(&at)?;
            }
            EntryType::Link => {
                let target = entry
                    .link_name()?
                    .ok_or_else(|| invalid("a link to nowhere"))?;
                let (_dir, target) = self.root.parent(&target)?;
                fs::hard_link(target, &at)?;
            }
            EntryType::Fifo => {
                let mode = Mode::from_bits_truncate(attributes.mode as mode_t);
                nix::unistd::mkfifo(&at, mode)?;
                attributes.set(&at)?;
            }
            // Instances must not use the machine's devices.
            EntryType::Char | EntryType::Block => return Ok(()),
            other => {
                return Err(invalid(&format!("an entry of the unknown type {other:?}")));
            }
        }
        fresh.insert(path);
        Ok(())
    }

    /// Removes a file or folder if it exists.
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (_dir, at) = self.root.parent(path)?;
        let removed = match fs::symlink_metadata(&at) {
            Ok(it) if it.is_dir() => fs::remove_dir_all(&at),
            Ok(_) => fs::remove_file(&at),
            Err(error) => Err(error),
        };
        self.folders.retain(|folder, _| !folder.starts_with(path));
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Removes everything from a folder that lower layers created.
    fn empty(&mut self, folder: &Path, fresh: &BTreeSet<PathBuf>) -> io::Result<()> {
        let dir = self.root.make_dir(folder)?;
        for entry in fs::read_dir(through(dir.as_fd()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if !fresh.contains(&path) {
                self.remove(&path)?;
            } else if entry.file_type()?.is_dir() {
                // This layer created the folder again, but not all of its content.
                self.empty(&path, fresh)?;
            }
        }
        Ok(())
    }

    /// Sets the modes and owners of folders, the innermost first, because the outer ones may forbid access.
    pub(super) fn finish(self) -> io::Result<()> {
        for (path, attributes) in self.folders.iter().rev() {
            if path.as_os_str().is_empty() {
                let root = self.root.dir(path)?;
                attributes.set(&through(root.as_fd()).join("."))?;
            } else {
                let (_dir, at) = self.root.parent(path)?;
                set_folder(&at, attributes)?;
            }
        }
        Ok(())
    }
}

/// Sets a folder's attributes, unless it is no longer a folder.
fn set_folder(at: &Path, attributes: &Attributes) -> io::Result<()> {
    if fs::symlink_metadata(at).is_ok_and(|it| it.is_dir()) {
        attributes.set(at)?;
        File::open(at)
            .and_then(|dir| dir.set_times(FileTimes::new().set_modified(attributes.modified)))
            // A folder that its owner may not read keeps its creation time.
            .or_else(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => Ok(()),
                _ => Err(error),
            })?;
    }
    Ok(())
}

fn too_large(limit: u64) -> io::Error {
    invalid(&format!(
        "the image unpacks to more than {} MiB, the limit on this disk",
        limit >> 20
    ))
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
