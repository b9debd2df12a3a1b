//! The file system of an instance.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::pivot_root;

use super::{Order, copy};
use landfall_kernel::rooted::{Rooted, through};
use landfall_kernel::userns::{explain, initial, single_user};

/// Devices without state or risk, as in Docker's `/dev`, with their numbers.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The paths of `/proc` and `/sys` that Docker hides (moby: oci/defaults.go): the machine's secrets and switches.
const HIDDEN: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// The paths of `/proc` that Docker makes read-only.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const NONE: Option<&str> = None;

/// Builds the instance's file system and leaves the machine's. Returns the weakened protections.
pub(super) fn enter(order: &Order) -> Result<Vec<String>, String> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .map_err(|error| explain("make the mounts private", error))?;
    let mut notes = Vec::new();
    let root = root(order, &mut notes)?;
    // Before `/proc` and `/sys` exist, because a link in `/etc` could lead there.
    files(&root, order)?;
    system(&root, &mut notes)?;
    pivot(&root)?;
    protect()?;
    Ok(notes)
}

/// The image's files below a layer of the instance's own.
fn root(order: &Order, notes: &mut Vec<String>) -> Result<Rooted, String> {
    let at = |name: &str| order.scratch.join(name);
    let io = |what: String| move |error: io::Error| format!("{what}: {error}");
    let mode = fs::metadata(&order.rootfs)
        .map_err(io(format!(
            "read the image's files at {}",
            order.rootfs.display()
        )))?
        .permissions();
    for name in ["upper", "work", "root"] {
        fs::create_dir(at(name)).map_err(io(format!("create {}", at(name).display())))?;
    }
    // The mode of the root folder comes from the upper layer.
    fs::set_permissions(at("upper"), mode).map_err(io("set the root folder's mode".to_owned()))?;
    if let Err(error) = overlay(order) {
        notes.push(format!(
            "no overlayfs ({error}): the image's files were copied into memory"
        ));
        copy::tree(&order.rootfs, &at("root")).map_err(io("copy the image's files".to_owned()))?;
        // A root must be a mount.
        mount(Some(&at("root")), &at("root"), NONE, MsFlags::MS_BIND, NONE)
            .map_err(|error| explain("mount the copied files", error))?;
    }
    Rooted::open(&at("root")).map_err(io("open the instance's root".to_owned()))
}

fn overlay(order: &Order) -> Result<(), String> {
    let lower = Rooted::open(&order.rootfs)
        .and_then(|root| root.dir(Path::new("")))
        .map_err(|error| error.to_string())?;
    std::env::set_current_dir(&order.scratch).map_err(|error| error.to_string())?;
    // Relative names and an open file, because commas and colons in paths have a meaning for the kernel. The instance
    // can also read these options, and must not see the machine's paths. In a user namespace, an overlay must keep
    // its marks in user.* attributes.
    let options = format!(
        "lowerdir={},upperdir=upper,workdir=work{}",
        through(lower.as_fd()).display(),
        if initial() { "" } else { ",userxattr" }
    );
    mount(
        Some("overlay"),
        "root",
        Some("overlay"),
        MsFlags::MS_NODEV | MsFlags::MS_NOSUID,
        Some(options.as_str()),
    )
    .map_err(|error| error.desc().to_owned())
}

/// Mounts a file system at `path` of the instance; creates the folder if the image has none.
fn mount_at(
    root: &Rooted,
    path: &str,
    kind: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), String> {
    let target = root
        .make_dir(Path::new(path))
        .map_err(|error| format!("create /{path} in the image: {error}"))?;
    mount(
        Some(kind),
        &through(target.as_fd()),
        Some(kind),
        flags,
        Some(options),
    )
    .map_err(|error| explain(&format!("mount /{path}"), error))
}

/// `/proc`, `/sys`, `/dev` and `/tmp`.
fn system(root: &Rooted, notes: &mut Vec<String>) -> Result<(), String> {
    for name in ["proc", "sys", "dev"] {
        // An instance that changed the link could see the hidden files (CVE-2019-19921).
        let is_link = root
            .parent(Path::new(name))
            .is_ok_and(|(_dir, entry)| fs::symlink_metadata(entry).is_ok_and(|it| it.is_symlink()));
        if is_link {
            return Err(format!(
                "/{name} of the image is a symbolic link; it has to be a folder, or missing"
            ));
        }
    }
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_at(root, "proc", "proc", safe, "")?;
    if let Err(reason) = mount_at(root, "sys", "sysfs", safe | MsFlags::MS_RDONLY, "") {
        notes.push(format!("an empty /sys: {reason}"));
    }
    devices(root)?;
    if root.dir(Path::new("tmp")).is_err() {
        root.make_dir(Path::new("tmp"))
            .and_then(|dir| {
                fs::set_permissions(through(dir.as_fd()), PermissionsExt::from_mode(0o1777))
            })
            .map_err(|error| format!("create /tmp in the image: {error}"))?;
    }
    Ok(())
}

fn devices(root: &Rooted) -> Result<(), String> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_at(
        root,
        "dev",
        "tmpfs",
        MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME,
        "mode=755,size=64k,nr_inodes=256",
    )?;
    let io = |what: String| move |error: io::Error| format!("{what}: {error}");
    let dev = root
        .dir(Path::new("dev"))
        .map_err(io("open /dev".to_owned()))?;
    let dev = through(dev.as_fd());
    for (name, major, minor) in DEVICES {
        let target = dev.join(name);
        // The instance's own: changes of a node by its root are not visible elsewhere.
        match mknod(
            &target,
            SFlag::S_IFCHR,
            Mode::empty(),
            makedev(major, minor),
        ) {
            Ok(()) => fs::set_permissions(&target, PermissionsExt::from_mode(0o666))
                .map_err(io(format!("open /dev/{name} to all")))?,
            // A user namespace cannot create nodes.
            Err(Errno::EPERM) => borrow_device(name, &target)?,
            Err(error) => return Err(explain(&format!("create /dev/{name}"), error)),
        }
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(link)).map_err(io(format!("create /dev/{link}")))?;
    }
    mount_at(
        root,
        "dev/shm",
        "tmpfs",
        quiet | MsFlags::MS_NODEV,
        "mode=1777,size=64m,nr_inodes=4096",
    )?;
    // Group 5 is tty everywhere; an ordinary user's namespace has no such group.
    let group = if single_user() { "" } else { ",gid=5" };
    mount_at(
        root,
        "dev/pts",
        "devpts",
        quiet,
        &format!("newinstance,ptmxmode=0666,mode=0620{group}"),
    )
}

/// Mounts the machine's own node read-only: the device works, and its mode and owner cannot change.
fn borrow_device(name: &str, target: &Path) -> Result<(), String> {
    let source = Path::new("/dev").join(name);
    if !source.exists() {
        return Ok(());
    }
    let doing = |error| explain(&format!("mount /dev/{name}"), error);
    create(target, b"").map_err(|error| format!("create /dev/{name}: {error}"))?;
    mount(Some(&source), target, NONE, MsFlags::MS_BIND, NONE).map_err(doing)?;
    // Restrictions of the machine's `/dev` cannot be lifted here, and must be repeated.
    let kept = statvfs(target).map_err(doing)?.flags();
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ]
    .into_iter()
    .filter(|(flag, _)| kept.contains(*flag))
    .fold(MsFlags::empty(), |flags, (_, flag)| flags | flag);
    let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | kept;
    mount(NONE, target, NONE, again, NONE).map_err(doing)
}

/// The files in `/etc` that come from the machine, not from the image.
fn files(root: &Rooted, order: &Order) -> Result<(), String> {
    for (name, text) in [
        ("hostname", format!("{}\n", order.hostname)),
        ("hosts", order.hosts.clone()),
        ("resolv.conf", order.resolv_conf.clone()),
    ] {
        let path = PathBuf::from("etc").join(name);
        root.parent(&path)
            .and_then(|(_dir, entry)| {
                // In some images it is a link to the file of another program.
                match fs::remove_file(&entry) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => create(&entry, text.as_bytes()),
                }
            })
            .map_err(|error| format!("write /{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Writes a new file that all users may read.
fn create(path: &Path, text: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?
        .write_all(text)
}

/// Makes `root` the root and unmounts everything else.
fn pivot(root: &Rooted) -> Result<(), String> {
    let doing = |error| explain("enter the instance's root", error);
    let dir = root
        .dir(Path::new(""))
        .map_err(|error| format!("enter the instance's root: {error}"))?;
    nix::unistd::fchdir(dir).map_err(doing)?;
    // The old root is then mounted over the new one, see pivot_root(2), and is unmounted.
    pivot_root(".", ".").map_err(doing)?;
    umount2(".", MntFlags::MNT_DETACH).map_err(doing)?;
    nix::unistd::chdir("/").map_err(doing)
}

/// Hides and write-protects the machine's parts of `/proc` and `/sys`.
fn protect() -> Result<(), String> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for path in READ_ONLY
        .into_iter()
        .filter(|path| Path::new(path).exists())
    {
        let doing = |error| explain(&format!("make {path} read-only"), error);
        mount(
            Some(path),
            path,
            NONE,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            NONE,
        )
        .map_err(doing)?;
        let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | safe;
        mount(NONE, path, NONE, again, NONE).map_err(doing)?;
    }
    for path in HIDDEN {
        let doing = |error| explain(&format!("hide {path}"), error);
        match fs::metadata(path) {
            Ok(it) if it.is_dir() => mount(
                Some("tmpfs"),
                path,
                Some("tmpfs"),
                safe | MsFlags::MS_RDONLY,
                Some("size=0,mode=555"),
            )
            .map_err(doing)?,
            Ok(_) => mount(Some("/dev/null"), path, NONE, MsFlags::MS_BIND, NONE).map_err(doing)?,
            // This kernel lacks the path.
            Err(_) => {}
        }
    }
    Ok(())
}
