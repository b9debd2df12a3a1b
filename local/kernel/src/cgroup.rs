//! Control groups of instances, of version 1 or 2, wherever this process may create them.
//!
//! A cloud has one group for each controller, `landfall-…`, with one group for each instance in it. It is created
//! below the group of this process, or below the nearest ancestor that allows it and has the controller. Root may
//! create it nearly everywhere, an ordinary user where systemd has delegated a part of the tree (version 2).
//!
//! Version 2 was tested on folders that imitate it, not on a kernel.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// The prefix of the name of every cloud's group.
const PREFIX: &str = "landfall-";

/// The time that a group may stay busy after its last process was killed.
const BUSY_FOR: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The period of a processor time quota in microseconds: the kernel's default.
const PERIOD_US: u64 = 100_000;

/// The default weight of a group of version 1. All instances together get it once for each processor, so that busy
/// instances take no more from the rest of the machine than as many busy programs.
const SHARES: usize = 1024;

/// The resource that a group limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
    /// Processor time.
    Cpu,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// Its name in the kernel.
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }

    /// A file of a group of version 2 that exists exactly if this controller is enabled.
    const fn file(self) -> &'static str {
        match self {
            Self::Memory => "memory.max",
            Self::Pids => "pids.max",
            Self::Cpu => "cpu.max",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The limits of one instance.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    /// In bytes, including files in memory.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u64,
    /// In thousandths of a processor.
    pub cpu: Option<u64>,
}

/// The groups of this cloud; empty if none can be created.
#[derive(Debug, Default)]
pub struct Groups {
    /// The cloud's group for each controller. Version 2 has one for all of them.
    folders: Vec<(Version, Controller, PathBuf)>,
}

impl Groups {
    /// Creates the groups of the cloud in this directory, and removes groups of killed clouds.
    pub fn new(dir: &Path) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let digest = Sha256::digest(dir.as_os_str().as_encoded_bytes());
        let name = digest[..6]
            .iter()
            .fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        Self::find(
            &read("/proc/self/mountinfo"),
            &read("/proc/self/cgroup"),
            &name,
        )
    }

    /// The same, with these texts of the kernel.
    fn find(mounts: &str, own: &str, name: &str) -> Self {
        let folders = Controller::ALL.into_iter().filter_map(|controller| {
            let hierarchy = Hierarchy::of(controller, mounts, own)?;
            let folder = hierarchy.group(&format!("{PREFIX}{name}"))?;
            Some((hierarchy.version, controller, folder))
        });
        Self {
            folders: folders.collect(),
        }
    }

    /// Creates the group of an instance.
    ///
    /// # Errors
    /// The change that the kernel refused. Nothing is left of the group then.
    pub fn create(&self, id: &str, limits: &GroupLimits) -> io::Result<Group> {
        let mut group = Group {
            folders: Vec::new(),
            is_removed: AtomicBool::new(false),
        };
        for (version, controller, parent) in &self.folders {
            // A cloud that starts removes empty groups.
            fs::create_dir_all(parent)?;
            if *version == Version::Two {
                enable(parent, *controller)?;
            }
            let path = parent.join(id);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            group.folders.push((*version, *controller, path.clone()));
            limit(*version, *controller, &path, limits)?;
        }
        Ok(group)
    }

    /// Removes the groups of the cloud at its end.
    pub fn remove(&self) {
        for (_, _, path) in &self.folders {
            remove_tree(path);
        }
    }
}

/// Enables a controller for the groups below this group of version 2.
fn enable(parent: &Path, controller: Controller) -> io::Result<()> {
    let text = format!("+{}", controller.name());
    put(&parent.join("cgroup.subtree_control"), &text)
}

/// Writes to an existing file of the kernel.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

fn limit(
    version: Version,
    controller: Controller,
    path: &Path,
    limits: &GroupLimits,
) -> io::Result<()> {
    let set = |file: &str, value: String| put(&path.join(file), &value);
    // Not every kernel has this file.
    let try_set = |file: &str, value: String| match set(file, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    };
    match (version, controller) {
        (Version::One, Controller::Memory) => {
            set("memory.limit_in_bytes", limits.memory.to_string())?;
            try_set("memory.memsw.limit_in_bytes", limits.memory.to_string())
        }
        (Version::Two, Controller::Memory) => {
            set("memory.max", limits.memory.to_string())?;
            try_set("memory.swap.max", "0".to_owned())?;
            try_set("memory.oom.group", "1".to_owned())
        }
        (_, Controller::Pids) => set("pids.max", limits.processes.to_string()),
        (version, Controller::Cpu) => {
            let quota = limits.cpu.map(|cpu| cpu * PERIOD_US / 1000);
            match (version, quota) {
                (_, None) => Ok(()),
                (Version::One, Some(quota)) => {
                    set("cpu.cfs_period_us", PERIOD_US.to_string())?;
                    set("cpu.cfs_quota_us", quota.to_string())
                }
                (Version::Two, Some(quota)) => set("cpu.max", format!("{quota} {PERIOD_US}")),
            }
        }
    }
}

/// The group of an instance; removed with this value.
#[derive(Debug)]
pub struct Group {
    folders: Vec<(Version, Controller, PathBuf)>,
    /// Another instance may have its name by now.
    is_removed: AtomicBool,
}

impl Group {
    /// Whether it limits this resource.
    pub fn has(&self, controller: Controller) -> bool {
        self.folders.iter().any(|(_, one, _)| *one == controller)
    }

    /// Moves a process of this process's pid namespace into the group, with all its later children.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn add_process(&self, pid: i32) -> io::Result<()> {
        for (_, _, path) in &self.folders {
            put(&path.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// The memory of its processes in bytes, including files in memory, excluding memory that the kernel can reclaim.
    pub fn memory(&self) -> Option<u64> {
        let (version, path) = self.folder(Controller::Memory)?;
        let stat = fs::read_to_string(path.join("memory.stat")).ok()?;
        let names = match version {
            Version::One => ["total_rss", "total_shmem"],
            Version::Two => ["anon", "shmem"],
        };
        names.iter().map(|name| field(&stat, name)).sum()
    }

    /// The number of processes that the kernel has killed in it because of a lack of memory.
    pub fn oom_kills(&self) -> u64 {
        let read = || {
            let (version, path) = self.folder(Controller::Memory)?;
            let file = match version {
                Version::One => "memory.oom_control",
                Version::Two => "memory.events",
            };
            field(&fs::read_to_string(path.join(file)).ok()?, "oom_kill")
        };
        read().unwrap_or(0)
    }

    /// The number of its processes and threads.
    pub fn processes(&self) -> Option<u64> {
        let (_, path) = self.folder(Controller::Pids)?;
        let text = fs::read_to_string(path.join("pids.current")).ok()?;
        text.trim().parse().ok()
    }

    /// The number of refused processes and threads.
    pub fn refused_processes(&self) -> u64 {
        let read = || {
            let (_, path) = self.folder(Controller::Pids)?;
            field(&fs::read_to_string(path.join("pids.events")).ok()?, "max")
        };
        read().unwrap_or(0)
    }

    /// Removes the group; waits for the end of its processes for a limited time. Blocks.
    pub fn remove(&self) {
        if !self.is_removed.swap(true, Ordering::Relaxed) {
            remove_all(&self.folders);
        }
    }

    fn folder(&self, controller: Controller) -> Option<(Version, &Path)> {
        let mut folders = self.folders.iter();
        let (version, _, path) = folders.find(|(_, one, _)| *one == controller)?;
        Some((*version, path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Processes of an instance that did not start may not have ended yet.
        let folders = std::mem::take(&mut self.folders);
        if !self.is_removed.load(Ordering::Relaxed) && !folders.is_empty() {
            let name = "cgroup-remove".to_owned();
            let remove = std::thread::Builder::new().name(name);
            // If the thread cannot start, the next cloud removes the group.
            drop(remove.spawn(move || remove_all(&folders)));
        }
    }
}

fn remove_all(folders: &[(Version, Controller, PathBuf)]) {
    let mut waited = Duration::ZERO;
    for (_, _, path) in folders {
        while let Err(error) = fs::remove_dir(path) {
            let is_busy = error.kind() == io::ErrorKind::ResourceBusy;
            if !is_busy || waited >= BUSY_FOR {
                break;
            }
            std::thread::sleep(BUSY_PAUSE);
            waited += BUSY_PAUSE;
        }
    }
}

/// The number for a name in a file with a name and a number in each line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// A mounted hierarchy with a controller.
#[derive(Debug)]
struct Hierarchy {
    version: Version,
    controller: Controller,
    /// The mount point.
    mount: PathBuf,
    /// The group of this process, relative to the mount.
    own: PathBuf,
}

impl Hierarchy {
    /// The hierarchy with this controller; version 1 if there is one.
    fn of(controller: Controller, mounts: &str, own: &str) -> Option<Self> {
        let has = |list: &str| list.split(',').any(|one| one == controller.name());
        let mount = |fs: &str, fits: &dyn Fn(&str) -> bool| {
            // https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
            let lines = mounts.lines().filter_map(|line| {
                let (before, after) = line.split_once(" - ")?;
                let mut after = after.split(' ');
                let (kind, _, options) = (after.next()?, after.next()?, after.next()?);
                let mut before = before.split(' ').skip(3);
                let (root, place) = (before.next()?, before.next()?);
                (kind == fs && fits(options)).then_some((root, place))
            });
            lines.last()
        };
        let own = |fits: &dyn Fn(&str) -> bool| {
            own.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                fits(controllers).then_some(path)
            })
        };
        let one = mount("cgroup", &has)
            .zip(own(&has))
            .map(|it| (Version::One, it));
        let two = || {
            let found = mount("cgroup2", &|_| true).zip(own(&|controllers| controllers.is_empty()));
            found.map(|it| (Version::Two, it))
        };
        let (version, ((root, place), own)) = one.or_else(two)?;
        // A container sees only a part of the hierarchy.
        let own = Path::new(own);
        let own = own.strip_prefix(root).unwrap_or(own);
        let plain = |part: &Component<'_>| matches!(part, Component::Normal(_));
        Some(Self {
            version,
            controller,
            mount: PathBuf::from(place),
            own: own.components().filter(plain).collect(),
        })
    }

    /// Creates the cloud's group as near to this process's own group as possible, and removes groups of other clouds
    /// there.
    fn group(&self, name: &str) -> Option<PathBuf> {
        self.own.ancestors().find_map(|above| {
            let above = self.mount.join(above);
            sweep(&above);
            let path = above.join(name);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return None,
                _ => {}
            }
            if self.is_of_use(&above, &path) {
                return Some(path);
            }
            // The group may be in use for another controller.
            let _ = fs::remove_dir(&path);
            None
        })
    }

    /// Whether the groups of instances in `path` can use the controller. Enables it if that is sufficient.
    fn is_of_use(&self, above: &Path, path: &Path) -> bool {
        if self.version == Version::One {
            if self.controller == Controller::Cpu {
                let processors = std::thread::available_parallelism().map_or(1, usize::from);
                let _ = put(&path.join("cpu.shares"), &(SHARES * processors).to_string());
            }
            return path.join("cgroup.procs").exists();
        }
        let file = path.join(self.controller.file());
        if !file.exists() && enable(above, self.controller).is_err() {
            return false;
        }
        file.exists() && enable(path, self.controller).is_ok()
    }
}

/// Removes groups of clouds without processes in this folder. The kernel keeps all others.
fn sweep(above: &Path) {
    let entries = fs::read_dir(above).into_iter().flatten().flatten();
    for entry in entries {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(PREFIX.as_bytes())
        {
            remove_tree(&entry.path());
        }
    }
}

/// Removes a cloud's group and the groups of its instances, except those with processes.
fn remove_tree(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests;
