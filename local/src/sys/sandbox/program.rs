//! The copy of this program that enters instances, on a file system that nobody can write to.
//!
//! A process in an instance may reach the file of a program that runs beside it, as CVE-2019-5736 did with runc's. What
//! enters an instance therefore never runs from the machine's own file: the cloud copies that file once, when it
//! starts, into a memory file system that is read-only from then on and mounted nowhere.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::elf;
use crate::sys::process::SELF;
use crate::sys::process::userns::explain;
use crate::sys::rooted::through;

static COPY: OnceLock<OwnedFd> = OnceLock::new();

/// Makes the copy. `at` is a folder to mount over for a moment, in a mount namespace of the cloud's own.
pub(crate) fn copy(at: &Path) -> Result<(), String> {
    let file = seal(at)?;
    // A second call would bring the same.
    let _ = COPY.set(file);
    Ok(())
}

/// A path by which this process executes the copy.
///
/// # Errors
///
/// This process has not made it.
pub(crate) fn path() -> io::Result<PathBuf> {
    let copy = COPY.get();
    let copy = copy.ok_or_else(|| io::Error::other("there is no copy of this program"))?;
    Ok(through(copy.as_fd()))
}

fn seal(at: &Path) -> Result<OwnedFd, String> {
    let io = |doing: &'static str| move |error: io::Error| format!("{doing}: {error}");
    let own = File::open(SELF).map_err(io("open this program"))?;
    let whole = own.metadata().map_err(io("look at this program"))?.len();
    // What the kernel loads lies before the debug information, which is most of a program that has any.
    let length = elf::loaded(&own).map_or(whole, |loaded| loaded.min(whole));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let size = format!("mode=0700,size={}", length + (1 << 20));
    let doing = "make a file system for the copy of this program";
    let failed = |error: Errno| explain(doing, error);
    let name = Some("landfall-program");
    mount(name, at, Some("tmpfs"), flags, Some(size.as_str())).map_err(failed)?;
    let path = at.join("landfall");
    let copied = (|| {
        let mut copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o500)
            .open(&path)?;
        copy.set_permissions(Permissions::from_mode(0o500))?;
        let copied = io::copy(&mut own.take(length), &mut copy)?;
        if copied != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        drop(copy);
        // Of the whole file system, not of one mount: no mount of it can be made writable by somebody else.
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>)?;
        File::open(&path)
    })();
    umount2(at, MntFlags::MNT_DETACH).map_err(failed)?;
    Ok(copied.map_err(io("copy this program"))?.into())
}

/// Whether `path` leads to the program that this process runs: it does itself, or through the interpreter that it names.
pub(super) fn is_own(path: &Path) -> io::Result<bool> {
    /// The kernel follows so many interpreters of scripts, and one of an ELF file.
    const MOST: usize = 6;
    let id = |path: &Path| {
        let it = std::fs::metadata(path)?;
        io::Result::Ok((it.dev(), it.ino()))
    };
    let own = id(Path::new(SELF))?;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        // What is not there is not executed.
        let Ok(found) = id(&path) else {
            return Ok(false);
        };
        if found == own {
            return Ok(true);
        }
        match elf::loader(&path) {
            Some(elf::Loader::Elf(next) | elf::Loader::Script(next)) => path = next.into(),
            None => return Ok(false),
        }
    }
    Ok(false)
}
