//! Paths inside a folder that is the root of another system: symbolic links never lead outside of it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// The number of retries of a lookup that a rename disturbed.
const TRIES: usize = 16;

/// A folder that is the root of all paths looked up in it.
#[derive(Debug)]
pub struct Rooted(OwnedFd);

impl Rooted {
    /// Opens `path` as a root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    /// The folder at `path`. Links are followed as in a process with this root.
    pub fn dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = normal(path)?;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &path
        };
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut tries = 0;
        loop {
            match openat2(&self.0, path, how) {
                Err(Errno::EAGAIN | Errno::EINTR) if tries < TRIES => tries += 1,
                result => return Ok(result?),
            }
        }
    }

    /// The folder at `path`, created with mode 755 if it is missing.
    pub fn make_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let mut sofar = PathBuf::new();
        let mut at = self.dir(&sofar)?;
        for part in normal(path)?.components() {
            sofar.push(part);
            at = match self.dir(&sofar) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let dir = through(at.as_fd()).join(part);
                    std::fs::create_dir(&dir).map_err(|error| match error.kind() {
                        io::ErrorKind::AlreadyExists => io::Error::new(
                            io::ErrorKind::NotFound,
                            format!("{} is a link to a missing folder", sofar.display()),
                        ),
                        _ => error,
                    })?;
                    // Independent of this process's umask.
                    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755))?;
                    self.dir(&sofar)?
                }
                result => result?,
            };
        }
        Ok(at)
    }

    /// The parent folder of `path`, and the last name of `path`.
    pub fn parent(&self, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let path = normal(path)?;
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let dir = self.make_dir(path.parent().unwrap_or(Path::new("")))?;
        let entry = through(dir.as_fd()).join(name);
        Ok((dir, entry))
    }
}

/// A path by which this process reaches an open file. Valid while the file is open.
pub fn through(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// `path` without a leading slash and dots.
///
/// # Errors
///
/// When it contains `..`.
pub fn normal(path: &Path) -> io::Result<PathBuf> {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => result.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("the path {} leads out of its folder", path.display()),
                ));
            }
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let base = tempfile::tempdir().unwrap();
        let (inside, outside) = (base.path().join("in"), base.path().join("out"));
        std::fs::create_dir_all(inside.join("real")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink("/real", inside.join("absolute")).unwrap();
        symlink("../../../real", inside.join("relative")).unwrap();
        symlink(&outside, inside.join("escape")).unwrap();
        let root = Rooted::open(&inside).unwrap();
        for link in ["absolute", "relative"] {
            let (_dir, entry) = root
                .parent(&Path::new(link).join(format!("by-{link}")))
                .unwrap();
            std::fs::write(entry, "").unwrap();
            assert!(inside.join("real").join(format!("by-{link}")).exists());
        }
        assert!(root.parent(Path::new("escape/file")).is_err());
        assert!(root.parent(Path::new("a/../../file")).is_err());
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    }
}
