//! Unpacks an image of an OCI layout to a folder, once for each digest.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use landfall_container::Store;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
use sha2::{Digest, Sha256};

use super::layer::{Limits, Tree};
use super::{Config, Error};

/// The maximum size of a manifest or configuration, in bytes: the limit of registries.
const MAX_JSON: u64 = 4 << 20;

/// The name of the folder with an unpacked image's files.
const FILES: &str = "rootfs";
/// The name of the file with an unpacked image's configuration.
const CONFIG: &str = "config.json";

/// An unpacked image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its files. They are read-only by convention, because instances share them.
    pub rootfs: PathBuf,
    /// Its configuration.
    pub config: Config,
}

/// Unpacks the image with the manifest digest `manifest` (`sha256:…`) in the OCI layout `layout` to a folder below
/// `images`, unless it exists. Blocks. Several callers may do so at once, also from several processes: one unpacks,
/// the others wait.
///
/// Root keeps owners as far as the kernel allows; for an ordinary user, all files belong to that user. Devices are
/// left out.
///
/// # Errors
///
/// A damaged or unsupported image, or a full or unwritable disk. Nothing of the image is visible then, and the next
/// call starts again. A damaged blob is removed from the layout, so that the next build creates it again.
pub fn unpack(layout: &Path, manifest: &str, images: &Path) -> Result<Image, Error> {
    Unpacking {
        layout,
        image: manifest,
    }
    .run(images)
}

struct Unpacking<'a> {
    layout: &'a Path,
    image: &'a str,
}

impl Unpacking<'_> {
    fn run(&self, images: &Path) -> Result<Image, Error> {
        let name = self.hex(self.image)?;
        let done = images.join(name);
        if let Some(image) = self.read(&done)? {
            return Ok(image);
        }
        fs::create_dir_all(images).map_err(self.doing(format!("create {}", images.display())))?;
        sweep(images);
        let lock = open_lock(images, name)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(self.doing(format!("lock {name}.lock in {}", images.display())))?;
        if let Some(image) = self.read(&done)? {
            return Ok(image);
        }
        // The holder of the lock owns this folder; its content is a leftover of a killed process.
        let new = images.join(format!("{name}.new"));
        remove(&new).map_err(self.doing(format!("remove {}", new.display())))?;
        let result = self.fill(&new).and_then(|()| {
            fs::rename(&new, &done).map_err(self.doing(format!(
                "rename {} to {}",
                new.display(),
                done.display()
            )))
        });
        if let Err(error) = result {
            // The first error is reported; the next call tries to remove the folder again.
            let _ = remove(&new);
            return Err(error);
        }
        drop(lock);
        self.read(&done)?
            .ok_or_else(|| self.bad(format!("{} has vanished", done.display())))
    }

    /// The image in `done`, if it exists.
    fn read(&self, done: &Path) -> Result<Option<Image>, Error> {
        let path = done.join(CONFIG);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.doing(format!("read {}", path.display()))(error)),
        };
        let config = ImageConfiguration::from_reader(text.as_bytes())
            .map_err(|error| self.bad(format!("its configuration: {error}")))?;
        Ok(Some(Image {
            rootfs: done.join(FILES),
            config: Config::new(&config),
        }))
    }

    /// Unpacks to the folder `new`.
    fn fill(&self, new: &Path) -> Result<(), Error> {
        let manifest = ImageManifest::from_reader(self.json(self.image, None)?.as_slice())
            .map_err(|error| self.bad(format!("its manifest: {error}")))?;
        let files = new.join(FILES);
        fs::create_dir_all(&files).map_err(self.doing(format!("create {}", files.display())))?;
        let mut tree = Limits::on(&files)
            .and_then(|limits| Tree::new(&files, limits))
            .map_err(self.doing(format!("open {}", files.display())))?;
        for layer in manifest.layers() {
            self.layer(&mut tree, layer)
                .map_err(|error| self.discard(layer.digest().as_ref(), error))?;
        }
        tree.finish()
            .map_err(self.doing("set the modes of folders".to_owned()))?;
        let config = manifest.config();
        let config = self.json(config.digest().as_ref(), Some(config.size()))?;
        fs::write(new.join(CONFIG), config)
            .map_err(self.doing("write its configuration".to_owned()))
    }

    /// Applies one layer and verifies its digest.
    fn layer(&self, tree: &mut Tree, layer: &Descriptor) -> Result<(), Error> {
        let digest = layer.digest().as_ref();
        let doing = |source| self.doing(format!("layer {digest}"))(source);
        let mut blob = Hashed::new(self.open(digest, Some(layer.size()))?);
        tree.apply(&mut blob).map_err(doing)?;
        // An archive may end before its file does.
        io::copy(&mut blob, &mut io::sink()).map_err(doing)?;
        self.verify(digest, blob.hash)
    }

    /// A small blob with a verified digest.
    fn json(&self, digest: &str, size: Option<u64>) -> Result<Vec<u8>, Error> {
        let read = || {
            let mut bytes = Vec::new();
            self.open(digest, size)?
                .take(MAX_JSON)
                .read_to_end(&mut bytes)
                .map_err(self.doing(format!("read blob {digest}")))?;
            self.verify(digest, Sha256::new_with_prefix(&bytes))?;
            Ok(bytes)
        };
        read().map_err(|error| self.discard(digest, error))
    }

    /// Opens a blob: a regular file of the announced size, so that reading cannot hang or continue without end.
    fn open(&self, digest: &str, size: Option<u64>) -> Result<File, Error> {
        let path = self.layout.join("blobs/sha256").join(self.hex(digest)?);
        let doing = |source| self.doing(format!("open {}", path.display()))(source);
        let file = File::options()
            .read(true)
            .custom_flags(O_NONBLOCK | O_NOFOLLOW)
            .open(&path)
            .map_err(doing)?;
        let found = file.metadata().map_err(doing)?;
        if !found.is_file() {
            return Err(self.bad(format!(
                "{} is no regular file; remove it, and deploy again",
                path.display()
            )));
        }
        match size {
            Some(size) if size != found.len() => Err(self.bad(format!(
                "blob {digest} has {} bytes, and its descriptor announces {size}; deploy again",
                found.len()
            ))),
            _ => Ok(file),
        }
    }

    /// Removes the blob of `error` if it is damaged: the store accepts any blob of the right size, and would not
    /// build it again.
    fn discard(&self, digest: &str, error: Error) -> Error {
        let removed = digest.parse().is_ok_and(|digest| {
            Store::open(self.layout)
                .is_ok_and(|store| store.discard_damaged(&digest).is_ok_and(|it| it))
        });
        if removed {
            self.bad(format!(
                "blob {digest} was damaged, and is removed; deploy again, which builds the image again"
            ))
        } else {
            error
        }
    }

    fn verify(&self, digest: &str, hash: Sha256) -> Result<(), Error> {
        use std::fmt::Write;
        let mut hex = String::new();
        for byte in hash.finalize() {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        if digest.strip_prefix("sha256:") == Some(hex.as_str()) {
            Ok(())
        } else {
            Err(self.bad(format!(
                "blob {digest} is damaged, its hash is sha256:{hex}; deploy again"
            )))
        }
    }

    /// The hexadecimal part of a digest, which is a valid file name.
    fn hex<'a>(&self, digest: &'a str) -> Result<&'a str, Error> {
        digest
            .strip_prefix("sha256:")
            .filter(|hex| {
                hex.len() == 64
                    && hex
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            })
            .ok_or_else(|| self.bad(format!("{digest:?} is not a sha256 digest")))
    }

    fn bad(&self, problem: String) -> Error {
        Error::Image {
            image: self.image.to_owned(),
            problem,
        }
    }

    fn doing(&self, doing: String) -> impl FnOnce(io::Error) -> Error {
        let image = self.image.to_owned();
        move |source| Error::Unpack {
            image,
            doing,
            source,
        }
    }
}

/// Removes leftovers of killed processes for all images. The holder of an image's lock is unpacking it. A folder that
/// cannot be removed only costs space.
fn sweep(images: &Path) {
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(image) = name.to_str().and_then(|name| name.strip_suffix(".new")) else {
            continue;
        };
        if let Ok(lock) = open_lock(images, image)
            && lock.try_lock().is_ok()
        {
            let _ = remove(&entry.path());
        }
    }
}

/// Opens the lock file of `image`.
fn open_lock(images: &Path, image: &str) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(images.join(format!("{image}.lock")))
}

/// Removes a folder, if it exists, even if the image's modes forbid it.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        result => result,
    }
}

/// Gives the owner all permissions for all folders below `path`.
fn open_up(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// A reader that hashes the bytes it reads.
struct Hashed {
    source: BufReader<File>,
    hash: Sha256,
}

impl Hashed {
    fn new(file: File) -> Self {
        Self {
            source: BufReader::with_capacity(1 << 16, file),
            hash: Sha256::new(),
        }
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
