//! The limits of an instance, and its end when it exceeds one.
//!
//! Control groups limit memory and processes where the machine allows the cloud to create them. Otherwise, the kernel
//! counts processes per user namespace (an ordinary user's instance has its own), and the cloud measures the memory
//! of the instance's processes. Files are in the instance's own file system, in memory, and do not count as memory of
//! its processes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use landfall_compute::{ByteSize, Limits};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::census::{self, Census};
use landfall_kernel::cgroup::{Controller, Group, GroupLimits, Groups};
use landfall_kernel::log;
use landfall_kernel::oom;

/// The interval between two measurements of memory, processes and disk.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long an instance may stay at its limit of processes or disk before it is ended. The kernel reports a short
/// excess to the service, as on every machine; a service that stays at the limit does no work.
const STANDS_FOR: Duration = Duration::from_secs(3);

/// The default limit on a container's memory; half of the machine's memory, if that is less.
const DEFAULT_MEMORY: ByteSize = ByteSize::mib(2048);
const DEFAULT_PROCESSES: u64 = 1024;
/// The default limit on files; a quarter of the machine's memory, if that is less.
const DEFAULT_DISK: ByteSize = ByteSize::mib(1024);

/// The bytes per inode, as in ext4.
const BYTES_PER_FILE: u64 = 16 << 10;

/// The free blocks and inodes at which a disk counts as full: a write may need several.
const FULL_BLOCKS: u64 = 4;
const FULL_FILES: u64 = 1;

/// Enforces the limits of instances, with the means of this machine.
#[derive(Debug)]
pub struct Limiter {
    groups: Groups,
    /// The machine's memory, in bytes.
    machine: u64,
}

impl Limiter {
    /// The limiter of the cloud in this directory. Removes the leftovers of killed clouds.
    pub fn new(dir: &Path) -> Self {
        Self {
            groups: Groups::new(dir),
            machine: machine_memory(),
        }
    }

    /// A limiter without control groups.
    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self {
            groups: Groups::default(),
            machine: 0,
        }
    }

    /// The resources of an instance with these limits.
    fn resolve(&self, limits: &Limits) -> Resolved {
        let part = |default: ByteSize, divisor: u64| {
            let part = ByteSize::mib((self.machine / divisor) >> 20);
            if self.machine == 0 {
                default
            } else {
                default.min(part)
            }
        };
        Resolved {
            memory: limits.memory.unwrap_or_else(|| part(DEFAULT_MEMORY, 2)),
            processes: limits.processes.map_or(DEFAULT_PROCESSES, u64::from),
            disk: limits.disk.unwrap_or_else(|| part(DEFAULT_DISK, 4)),
            cpu: limits.cpu.map(|share| u64::from(share.thousandths())),
        }
    }

    /// Prepares the limits of an instance; `notes` lists the limits that this machine cannot enforce.
    pub(super) fn confine(&self, id: &str, limits: &Limits, notes: &mut Vec<String>) -> Confined {
        let limits = self.resolve(limits);
        let wanted = GroupLimits {
            // The group counts files in memory too, so `Guard` measures the memory of the processes.
            memory: limits.memory.bytes().saturating_add(limits.disk.bytes()),
            processes: limits.processes,
            cpu: limits.cpu,
        };
        let group = self.groups.create(id, &wanted).map_err(|error| {
            log(format_args!("{id}: its control group: {error}"));
        });
        let group = group.ok();
        let has_quota = group
            .as_ref()
            .is_some_and(|group| group.has(Controller::Cpu));
        if limits.cpu.is_some() && !has_quota {
            notes.push("the limit of processor time is not enforced: this machine has no control group for it".to_owned());
        }
        Confined {
            limits,
            group: group.map(Arc::new),
        }
    }
}

/// The machine's memory in bytes; 0 if the kernel does not report it.
fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        let value = line.strip_prefix("MemTotal:")?.strip_suffix("kB")?;
        value.trim().parse::<u64>().ok()
    });
    kib.unwrap_or(0) * 1024
}

/// The resources of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) memory: ByteSize,
    pub(super) processes: u64,
    pub(super) disk: ByteSize,
    /// In thousandths of a processor.
    cpu: Option<u64>,
}

impl Resolved {
    fn files(&self) -> u64 {
        (self.disk.bytes() / BYTES_PER_FILE).max(1024)
    }
}

/// The limits of one instance, and its control group if it has one.
#[derive(Debug, Clone)]
pub(super) struct Confined {
    pub(super) limits: Resolved,
    group: Option<Arc<Group>>,
}

impl Confined {
    /// Applies the limits to a new process of the instance, before it starts other processes.
    pub(super) fn add_process(&mut self, pid: i32) {
        if let Err(error) = self.join(pid) {
            log(format_args!("process {pid}: its control group: {error}"));
            // `Guard` measures processes outside of the group.
            self.group = None;
        }
    }

    /// Applies the limits to a further process.
    ///
    /// # Errors
    /// When the kernel refuses the move to the instance's control group.
    pub(super) fn join(&self, pid: i32) -> io::Result<()> {
        oom::prefer(pid);
        match &self.group {
            Some(group) => group.add_process(pid),
            None => Ok(()),
        }
    }

    /// Removes its control group. Blocks.
    pub(super) fn remove(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }

    /// Mounts the instance's own file system on this folder.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn mount_disk(&self, folder: &Path) -> nix::Result<()> {
        let (bytes, files) = (self.limits.disk.bytes(), self.limits.files());
        mount(
            Some("landfall"),
            folder,
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(format!("mode=0700,size={bytes},nr_inodes={files}").as_str()),
        )
    }
}

/// Unmounts the instance's own file system, with all its files.
pub(super) fn unmount_disk(folder: &Path) -> nix::Result<()> {
    umount2(folder, MntFlags::MNT_DETACH)
}

/// An exhausted resource of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exhausted {
    Memory,
    Processes,
    Disk,
    Files,
}

/// Watches the limits of one running instance.
#[derive(Debug)]
pub(super) struct Guard {
    confined: Confined,
    pid: i32,
    disk: PathBuf,
    looks: tokio::time::Interval,
    refused: u64,
    /// The start of the present time at the limit of processes, and of the disk.
    processes_since: Option<Instant>,
    disk_since: Option<Instant>,
}

impl Guard {
    pub(super) fn new(confined: Confined, pid: i32, disk: PathBuf) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            confined,
            pid,
            disk,
            looks,
            refused: 0,
            processes_since: None,
            disk_since: None,
        }
    }

    /// Waits until the instance must end, and returns the reason. It may be dropped and called again.
    pub(super) async fn exceeded(&mut self) -> String {
        loop {
            self.looks.tick().await;
            if let Some(what) = self.look().await {
                return format!("ended: {}", self.reason(what));
            }
        }
    }

    /// How an ended instance ended: with the limit that it exceeded, if there is one.
    pub(super) fn explain(&self, exit: String) -> String {
        let group = self.confined.group.as_ref();
        if group.is_some_and(|group| group.oom_kills() > 0) {
            return format!("ended: {}", self.reason(Exhausted::Memory));
        }
        let refused = group.is_some_and(|group| group.refused_processes() > 0);
        if let Some(what) = self.full_disk() {
            format!("{exit}: {}", self.reason(what))
        } else if refused || self.processes_since.is_some() {
            format!("{exit}: {}", self.reason(Exhausted::Processes))
        } else {
            exit
        }
    }

    /// Removes the control group. Blocks.
    pub(super) fn remove(&self) {
        self.confined.remove();
    }

    fn reason(&self, what: Exhausted) -> String {
        let limits = &self.confined.limits;
        match what {
            Exhausted::Memory => format!("out of memory (limit {})", limits.memory),
            Exhausted::Processes => {
                format!(
                    "too many processes and threads (limit {})",
                    limits.processes
                )
            }
            Exhausted::Disk => format!("its disk is full (limit {})", limits.disk),
            Exhausted::Files => {
                let files = limits.files();
                format!("its disk is full (limit {files} files on {})", limits.disk)
            }
        }
    }

    async fn look(&mut self) -> Option<Exhausted> {
        let now = Instant::now();
        let usage = self.usage().await;
        let memory = self.confined.limits.memory.bytes();
        if usage.has_been_killed || usage.memory > memory {
            return Some(Exhausted::Memory);
        }
        let stands = |since: &mut Option<Instant>, is_at_limit: bool| {
            *since = is_at_limit.then(|| since.unwrap_or(now));
            since.is_some_and(|since| now.duration_since(since) >= STANDS_FOR)
        };
        if stands(&mut self.processes_since, usage.is_at_processes) {
            return Some(Exhausted::Processes);
        }
        let full = self.full_disk();
        if stands(&mut self.disk_since, full.is_some()) {
            return full;
        }
        None
    }

    async fn usage(&mut self) -> Usage {
        let limits = self.confined.limits;
        let group = self.confined.group.clone();
        let group = group.as_ref();
        let (memory, processes) = (
            group.and_then(|group| group.memory()),
            group.and_then(|group| group.processes()),
        );
        let mut usage = Usage {
            // Its files are in memory too, with their own limit.
            memory: memory.map_or(0, |memory| memory.saturating_sub(self.used_disk())),
            has_been_killed: group.is_some_and(|group| group.oom_kills() > 0),
            is_at_processes: false,
        };
        if let Some((group, processes)) = group.zip(processes) {
            let refused = group.refused_processes();
            usage.is_at_processes = processes >= limits.processes || refused > self.refused;
            self.refused = refused;
        }
        if memory.is_none() || processes.is_none() {
            let pid = self.pid;
            let counted = tokio::task::spawn_blocking(move || count(pid, limits.memory.bytes()));
            let (resident, tasks) = counted.await.unwrap_or_default();
            if memory.is_none() {
                usage.memory = resident;
            }
            if processes.is_none() {
                // Between two measurements, some processes end and others start.
                usage.is_at_processes = tasks + tasks / 16 >= limits.processes;
            }
        }
        usage
    }

    /// Whether the disk is full, and the exhausted resource.
    fn full_disk(&self) -> Option<Exhausted> {
        let disk = statvfs(&self.disk).ok()?;
        if disk.blocks_available() < FULL_BLOCKS {
            Some(Exhausted::Disk)
        } else if disk.files_free() < FULL_FILES {
            Some(Exhausted::Files)
        } else {
            None
        }
    }

    fn used_disk(&self) -> u64 {
        statvfs(&self.disk).map_or(0, |disk| {
            (disk.blocks() - disk.blocks_free()) * disk.fragment_size()
        })
    }
}

#[derive(Debug, Default)]
struct Usage {
    /// The memory of its processes, in bytes.
    memory: u64,
    /// Whether the kernel has killed one of them because of a lack of memory.
    has_been_killed: bool,
    is_at_processes: bool,
}

/// The memory and the number of all descendants of a process, according to `/proc`. Blocks.
fn count(root: i32, limit: u64) -> (u64, u64) {
    let usage = Census::recent().usage(root);
    let resident = if usage.resident > limit {
        // Shared memory was counted for each process.
        census::proportional(&usage.pids).unwrap_or(usage.resident)
    } else {
        usage.resident
    };
    (resident, usage.tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(machine: u64, limits: &Limits) -> Resolved {
        let limiter = Limiter::unlimited();
        Limiter { machine, ..limiter }.resolve(limits)
    }

    #[test]
    fn defaults_leave_room_for_the_machine() {
        let large = resolved(32 << 30, &Limits::default());
        assert_eq!(large.memory, ByteSize::mib(2048));
        assert_eq!((large.disk, large.files()), (ByteSize::mib(1024), 65_536));
        assert_eq!((large.processes, large.cpu), (1024, None));
        let small = resolved(1 << 30, &Limits::default());
        assert_eq!(small.memory, ByteSize::mib(512));
        assert_eq!(small.disk, ByteSize::mib(256));
        // The kernel does not report the machine's memory.
        assert_eq!(resolved(0, &Limits::default()).memory, ByteSize::mib(2048));
    }

    #[test]
    fn what_the_file_says_counts() {
        let limits = Limits {
            memory: Some(ByteSize::mib(64)),
            cpu: landfall_compute::CpuShare::from_thousandths(250),
            processes: Some(20),
            disk: Some(ByteSize::mib(16)),
        };
        let resolved = resolved(1 << 30, &limits);
        assert_eq!(resolved.memory, ByteSize::mib(64));
        assert_eq!((resolved.disk, resolved.files()), (ByteSize::mib(16), 1024));
        assert_eq!((resolved.processes, resolved.cpu), (20, Some(250)));
    }
}
