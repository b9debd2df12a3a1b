//! The copy of this program that enters instances, on a read-only file system.
//!
//! A process in an instance may reach the file of a program that runs beside it, as CVE-2019-5736 did with runc. So
//! programs that enter an instance never run from the machine's own file: at its start, the cloud copies that file to
//! a memory file system, which is read-only from then on and invisible to instances.
//!
//! Each entering process has its own mount of the copy ([`Program`]), and forbids execution on it before it joins
//! anything of the instance ([`lock`]). From then on, the kernel refuses the copy on every path of the image's
//! command: `/proc/self/exe`, a link, an interpreter, even one that was added after [`is_own`] had checked.
#![expect(
    unsafe_code,
    reason = "open_tree(2) and mount_setattr(2) have no safe form here"
)]

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::elf;
use landfall_kernel::SELF;
use landfall_kernel::rooted::through;
use landfall_kernel::userns::explain;

const EMPTY_PATH: libc::c_uint = libc::AT_EMPTY_PATH.unsigned_abs();

static COPY: OnceLock<OwnedFd> = OnceLock::new();

/// Creates the copy. `at` is a folder to mount over, in the cloud's own mount namespace. The cloud later mounts
/// another file system over this one, and instances have another root.
pub(crate) fn copy(at: &Path) -> Result<(), String> {
    let file = seal(at)?;
    // A second call would create the same copy.
    let _ = COPY.set(file);
    Ok(())
}

/// The copy, for one process that executes it and then [locks](lock) it.
pub(crate) struct Program(OwnedFd);

impl Program {
    /// Clones the mount of the copy, without a mount point.
    ///
    /// # Errors
    ///
    /// When this process has not created the copy, or the kernel refuses.
    pub(crate) fn mount() -> io::Result<Self> {
        let copy = COPY.get();
        let copy = copy.ok_or_else(|| io::Error::other("there is no copy of this program"))?;
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | EMPTY_PATH;
        // SAFETY: the descriptor is open, the path is a string that ends with zero, and the kernel keeps neither.
        let mounted =
            unsafe { libc::syscall(libc::SYS_open_tree, copy.as_raw_fd(), c"".as_ptr(), flags) };
        let mounted = Errno::result(mounted)
            .map_err(|error| io::Error::other(explain("mount the copy of this program", error)))?;
        let mounted = RawFd::try_from(mounted).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(mounted) }))
    }

    /// A path by which this process executes it.
    pub(crate) fn path(&self) -> PathBuf {
        through(self.0.as_fd())
    }
}

/// The descriptor with which the executing process calls [`lock`].
impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Forbids the execution of this process's program through `program`, the mount it was executed from.
pub(super) fn lock(program: &OwnedFd) -> Result<(), String> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_NOEXEC,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the descriptor is open; the path ends with zero, the attributes are as long as said, and the kernel
    // keeps none of them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            program.as_raw_fd(),
            c"".as_ptr(),
            EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    let locked = Errno::result(result).map(drop);
    locked.map_err(|error| explain("forbid the execution of this program", error))
}

fn seal(at: &Path) -> Result<OwnedFd, String> {
    let io = |doing: &'static str| move |error: io::Error| format!("{doing}: {error}");
    let own = File::open(SELF).map_err(io("open this program"))?;
    let whole = own.metadata().map_err(io("look at this program"))?.len();
    // The loaded part of the file lies before the debug information, which is most of a program with debug
    // information.
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
        // The whole file system, not one mount, so that no mount of it can be made writable.
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>)?;
        File::open(&path)
    })();
    if copied.is_err() {
        umount2(at, MntFlags::MNT_DETACH).map_err(failed)?;
    }
    // It stays mounted, because the kernel clones only attached mounts.
    Ok(copied.map_err(io("copy this program"))?.into())
}

/// Whether `path` leads to this process's program, directly or through an interpreter.
pub(super) fn is_own(path: &Path) -> io::Result<bool> {
    /// The maximum number of script interpreters that the kernel follows, plus one of an ELF file.
    const MOST: usize = 6;
    let id = |path: &Path| {
        let it = std::fs::metadata(path)?;
        io::Result::Ok((it.dev(), it.ino()))
    };
    let own = id(Path::new(SELF))?;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        // A missing file is not executed.
        let Ok(found) = id(&path) else {
            return Ok(false);
        };
        if found == own {
            return Ok(true);
        }
        match elf::loader(&path) {
            Some(elf::Loader::Elf(next) | elf::Loader::Script { name: next, .. }) => {
                path = next.into()
            }
            None => return Ok(false),
        }
    }
    Ok(false)
}
