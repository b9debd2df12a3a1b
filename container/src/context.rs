//! The build context: the files available to a build, their identity, and their archive.
//!
//! The archive preserves the modes of files and directories, as Docker's own client does; owners
//! are 0:0 and times 0.
//!
//! The identity contains names, kinds, contents, link targets, and the mode bits that no umask
//! changes: whether a file is executable, and the set-id and sticky bits. The other bits differ
//! between two clones of one repository, and both clones must have one identity.
//!
//! Some files are never part of an image and are excluded by default, see [`crate::left_out`].

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ignore::{Covered, Ignore};
use crate::left_out::LeftOut;
use crate::{BuildRequest, Error, Result};

/// A directory, and the part of it that belongs to a build.
#[derive(Clone, Debug)]
pub struct Context {
    root: PathBuf,
    dockerfile: PathBuf,
    ignore_file: Option<PathBuf>,
    entries: Vec<ContextEntry>,
    left_out: Vec<String>,
}

/// One file, directory or symbolic link of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextEntry {
    /// The path relative to the context, with `/` as the separator.
    pub path: String,
    /// Its kind.
    pub kind: EntryKind,
    /// The file's permission bits, with set-id and sticky. 0777 for links; 0755 on file systems
    /// without such bits, as in Docker.
    pub mode: u32,
}

/// The kind of a context entry. Sockets, pipes and devices are not source files and belong to no
/// context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Whether anybody may execute it. Always true on file systems without such a bit, as in
        /// Docker.
        executable: bool,
        /// Its length in bytes when the context was opened.
        size: u64,
    },
    /// A symbolic link: never followed.
    Symlink {
        /// Its target, as text.
        target: String,
    },
}

impl Context {
    /// Lists the context of `request`, without the files that its ignore file excludes, ordered by
    /// path.
    ///
    /// The Dockerfile and the ignore file are listed only if the rules include them.
    ///
    /// # Errors
    ///
    /// The context is not a directory, there is no Dockerfile, the ignore file has a malformed line, a
    /// directory cannot be read, or a name is not UTF-8.
    pub fn open(request: &BuildRequest) -> Result<Self> {
        let root = &request.context;
        if !root.is_dir() {
            return Err(Error::ContextMissing { path: root.clone() });
        }
        let dockerfile = request.dockerfile_path();
        if !dockerfile.exists() {
            return Err(Error::DockerfileMissing { path: dockerfile });
        }
        let ignore_file = Ignore::find(root, &dockerfile);
        let ignore = ignore_file
            .as_deref()
            .map(Ignore::read)
            .transpose()?
            .unwrap_or_default();
        let mut walk = Walk {
            ignore: &ignore,
            by_default: LeftOut::of(request),
            entries: Vec::new(),
            left_out: Vec::new(),
        };
        walk.directory(root, "", false, &Covered::default())?;
        let Walk {
            mut entries,
            mut left_out,
            ..
        } = walk;
        left_out.sort();
        // Byte order of the whole path: the same on every machine, with a directory before its
        // contents.
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            root: root.clone(),
            dockerfile,
            ignore_file,
            entries,
            left_out,
        })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entries, ordered by path.
    #[must_use]
    pub fn entries(&self) -> &[ContextEntry] {
        &self.entries
    }

    /// The files that are excluded by default and not included again by the ignore file, ordered by
    /// path. A directory that is excluded as a whole is listed without its contents.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// A hash of the entries and the files' contents.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn hash(&self) -> Result<ContextHash> {
        let mut hasher = Hasher::new("landfall context 2");
        for entry in &self.entries {
            hasher.field("path", entry.path.as_bytes());
            // Set-id and sticky bits never depend on a umask, so two clones agree.
            hasher.field("special", &[(entry.mode >> 9) as u8 & 0o7]);
            match &entry.kind {
                EntryKind::Directory => hasher.field("directory", b""),
                EntryKind::Symlink { target } => hasher.field("symlink", target.as_bytes()),
                EntryKind::File { executable, .. } => {
                    hasher.field("executable", &[u8::from(*executable)]);
                    let path = self.root.join(&entry.path);
                    let mut file = File::open(&path).map_err(Error::io("read", &path))?;
                    let mut content = Sha256::new();
                    copy(&mut file, &mut HashWriter(&mut content))
                        .map_err(Error::io("read", &path))?;
                    hasher.field("content", &content.finalize());
                }
            }
        }
        Ok(hasher.finish())
    }

    /// The name of the Dockerfile in [`Context::write_tar`]'s archive.
    #[must_use]
    pub fn dockerfile_name(&self) -> String {
        self.name_inside(&self.dockerfile)
            .unwrap_or_else(|| ".landfall.Dockerfile".to_owned())
    }

    /// Writes the context as a tar archive, for an engine: the same context gives the same bytes.
    ///
    /// The archive always contains the Dockerfile, under [`Context::dockerfile_name`], and the
    /// ignore file, so that the engine can exclude both from `COPY` if the rules exclude them.
    ///
    /// # Errors
    ///
    /// A file cannot be read, a file's size changes in the meantime, or `out` cannot be written.
    pub fn write_tar(&self, out: impl Write) -> Result<()> {
        let mut files: Vec<(PathBuf, ContextEntry)> = self
            .entries
            .iter()
            .map(|entry| (self.root.join(&entry.path), entry.clone()))
            .collect();
        let extra = [
            Some((self.dockerfile_name(), &self.dockerfile)),
            self.ignore_in_tar(),
        ];
        for (name, path) in extra.into_iter().flatten() {
            if !files.iter().any(|(_, known)| known.path == name) {
                let size = fs::metadata(path).map_err(Error::io("read", path))?.len();
                let kind = EntryKind::File {
                    executable: false,
                    size,
                };
                let entry = ContextEntry {
                    path: name,
                    kind,
                    mode: 0o644,
                };
                files.push((path.clone(), entry));
            }
        }
        files.sort_by(|a, b| a.1.path.cmp(&b.1.path));

        let mut tar = tar::Builder::new(out);
        for (path, entry) in &files {
            append(&mut tar, path, entry).map_err(Error::io("archive", path))?;
        }
        tar.finish().map_err(Error::io("archive", &self.root))
    }

    /// The ignore file, under the name that an engine expects.
    fn ignore_in_tar(&self) -> Option<(String, &PathBuf)> {
        let file = self.ignore_file.as_ref()?;
        let name = self
            .name_inside(file)
            .unwrap_or_else(|| format!("{}.dockerignore", self.dockerfile_name()));
        Some((name, file))
    }

    /// The name of `path` relative to the context, if it is inside.
    fn name_inside(&self, path: &Path) -> Option<String> {
        let relative = path.strip_prefix(&self.root).ok()?;
        let name = crate::ignore::clean(&relative.to_str()?.replace('\\', "/"));
        (!name.starts_with("..") && !name.starts_with('/')).then_some(name)
    }
}

/// A traversal of a context.
struct Walk<'a> {
    ignore: &'a Ignore,
    by_default: LeftOut,
    entries: Vec<ContextEntry>,
    left_out: Vec<String>,
}

impl Walk<'_> {
    /// Adds the entries of the directory `path`, which is `dir` in the context; returns whether it
    /// added any. `inside` means that the directory is excluded by default.
    fn directory(
        &mut self,
        path: &Path,
        dir: &str,
        inside: bool,
        covered: &Covered,
    ) -> Result<bool> {
        let before = self.entries.len();
        for item in fs::read_dir(path).map_err(Error::io("list", path))? {
            let item = item.map_err(Error::io("list", path))?;
            let name = item.file_name();
            // A name that is not UTF-8 is matched with U+FFFD in it, which `*` and `?` match.
            let relative = if dir.is_empty() {
                name.to_string_lossy().into_owned()
            } else {
                format!("{dir}/{}", name.to_string_lossy())
            };
            let path = item.path();
            let kind = item.file_type().map_err(Error::io("inspect", &path))?;
            let by_default = inside || self.by_default.covers(&name, &path, kind);
            let (excluded, covered) = self.ignore.check_from(by_default, &relative, covered);
            if excluded && by_default && !inside {
                self.left_out.push(relative.clone());
            }
            if kind.is_dir() {
                if excluded && !self.ignore.keeps_below(&relative) {
                    continue;
                }
                let kept_below = self.directory(&path, &relative, by_default, &covered)?;
                if excluded && !kept_below {
                    continue;
                }
            } else if excluded || !(kind.is_file() || kind.is_symlink()) {
                continue;
            }
            if name.to_str().is_none() {
                return Err(Error::NotUtf8 {
                    what: "the file name",
                    path,
                });
            }
            self.entries.push(entry(&path, relative)?);
        }
        Ok(self.entries.len() > before)
    }
}

/// The entry for `path`, without following a link.
fn entry(path: &Path, name: String) -> Result<ContextEntry> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io("inspect", path))?;
    let (kind, mode) = if metadata.is_symlink() {
        let target = fs::read_link(path).map_err(Error::io("read the link", path))?;
        let target = target
            .into_os_string()
            .into_string()
            .map_err(|_| Error::NotUtf8 {
                what: "the target of the link",
                path: path.to_owned(),
            })?;
        (EntryKind::Symlink { target }, 0o777)
    } else if metadata.is_dir() {
        (EntryKind::Directory, mode_of(&metadata))
    } else {
        let kind = EntryKind::File {
            executable: is_executable(&metadata),
            size: metadata.len(),
        };
        (kind, mode_of(&metadata))
    };
    Ok(ContextEntry {
        path: name,
        kind,
        mode,
    })
}

#[cfg(unix)]
fn mode_of(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

#[cfg(not(unix))]
fn mode_of(_: &fs::Metadata) -> u32 {
    0o755
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    true
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &Path,
    entry: &ContextEntry,
) -> io::Result<()> {
    let name = &entry.path;
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mode(entry.mode);
    match &entry.kind {
        EntryKind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{name}/"), io::empty())
        }
        EntryKind::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, name, target)
        }
        EntryKind::File { size, .. } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(*size);
            let mut content = File::open(path)?.take(*size);
            tar.append_data(&mut header, name, &mut content)?;
            if content.limit() != 0 {
                return Err(io::Error::other(
                    "the file became shorter while it was read",
                ));
            }
            Ok(())
        }
    }
}

/// `io::copy` with a buffer that is large enough for hashing at full speed.
pub(crate) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; 128 * 1024];
    let mut total = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&buffer[..read])?;
        total += read as u64;
    }
}

/// A writer that feeds a hash.
pub(crate) struct HashWriter<'a>(pub(crate) &'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A SHA-256 over labelled fields, each with its length, so that different lists of fields have
/// different hashes.
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Starts a hash for one purpose; a change of its input changes the purpose's number.
    pub(crate) fn new(purpose: &str) -> Self {
        let mut hasher = Self(Sha256::new());
        hasher.field("purpose", purpose.as_bytes());
        hasher
    }

    pub(crate) fn field(&mut self, label: &str, value: &[u8]) {
        self.0.update((label.len() as u64).to_be_bytes());
        self.0.update(label);
        self.0.update((value.len() as u64).to_be_bytes());
        self.0.update(value);
    }

    pub(crate) fn finish(self) -> ContextHash {
        ContextHash(hex(&self.0.finalize()))
    }
}

/// Bytes as lowercase hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of an image's source: 64 lowercase hexadecimal digits of a SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextHash(String);

impl ContextHash {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContextHash {
    type Err = ContextHashError;

    fn from_str(text: &str) -> Result<Self, ContextHashError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ContextHashError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ContextHash {
    type Error = ContextHashError;

    fn try_from(text: String) -> Result<Self, ContextHashError> {
        text.parse()
    }
}

impl From<ContextHash> for String {
    fn from(hash: ContextHash) -> Self {
        hash.0
    }
}

/// The error for a text that is not a context hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a context hash of 64 hexadecimal digits")]
pub struct ContextHashError(String);
