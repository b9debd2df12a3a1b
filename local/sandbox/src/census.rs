//! The resource use of instances according to `/proc`, for machines without control groups.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The maximum age of a census that several instances share.
const FRESH: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    threads: u64,
    /// Pages in memory, including shared ones.
    resident: u64,
}

/// All processes of this process's pid namespace at one time.
#[derive(Debug, Default)]
pub(super) struct Census {
    processes: BTreeMap<i32, Process>,
}

/// The resource use of a process and all its descendants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) pids: Vec<i32>,
    /// Processes and threads.
    pub(super) tasks: u64,
    /// In bytes. Memory that several of them share counts for each.
    pub(super) resident: u64,
}

impl Census {
    /// A recent census. Blocks.
    pub(super) fn recent() -> Arc<Self> {
        static LAST: Mutex<Option<(Instant, Arc<Census>)>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, census)) if at.elapsed() < FRESH => Arc::clone(census),
            _ => {
                let census = Arc::new(Self::take());
                *last = Some((Instant::now(), Arc::clone(&census)));
                census
            }
        }
    }

    fn take() -> Self {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parse(&stat)?))
        });
        Self {
            processes: processes.collect(),
        }
    }

    /// The resource use of a process and its descendants.
    pub(super) fn usage(&self, root: i32) -> Usage {
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (pid, process) in &self.processes {
            children.entry(process.parent).or_default().push(*pid);
        }
        let mut usage = Usage::default();
        let mut next = vec![root];
        while let Some(pid) = next.pop() {
            let Some(process) = self.processes.get(&pid) else {
                continue;
            };
            usage.pids.push(pid);
            usage.tasks += process.threads;
            usage.resident += process.resident * page_size();
            // Each process has one parent, so the walk meets it once. Parents are read at different times, so a
            // process may seem to be its own descendant.
            let children = children.remove(&pid).unwrap_or_default();
            next.extend(children.into_iter().filter(|child| *child != root));
        }
        usage
    }
}

/// The private memory of these processes, in bytes; shared memory counts once. Slow. `None` if the kernel does not
/// report it. Blocks.
pub(super) fn proportional(pids: &[i32]) -> Option<u64> {
    let mut sum = None;
    for pid in pids {
        // A process that has ended has no memory.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            continue;
        };
        let kib = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| {
                let value = line.strip_prefix(name)?.strip_suffix("kB")?.trim();
                value.parse::<u64>().ok()
            })
        };
        if let Some((anon, shmem)) = kib("Pss_Anon:").zip(kib("Pss_Shmem:")) {
            sum = Some(sum.unwrap_or(0) + (anon + shmem) * 1024);
        }
    }
    sum
}

fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// The fields of `/proc/PID/stat`: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn parse(stat: &str) -> Option<Process> {
    // The name is in parentheses and may contain any of them.
    let (_, rest) = stat.rsplit_once(')')?;
    // Counted from the third field, the state.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        resident: fields.get(21)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_is_parsed() {
        let stat = "17 (a) b) S 4 17 17 0 -1 4194560 150 0 0 0 12 30 5 3 20 0 9 0 99 4096000 250 18446744073709551615";
        let process = Process {
            parent: 4,
            threads: 9,
            resident: 250,
        };
        assert_eq!(parse(stat), Some(process));
        assert_eq!(parse("17 (a) S 4"), None);
    }

    #[test]
    fn descendants_count_for_their_instance_alone() {
        let process = |parent, threads| Process {
            parent,
            threads,
            resident: 1,
        };
        let census = Census {
            processes: BTreeMap::from([
                (1, process(0, 9)),
                (5, process(1, 1)),
                (6, process(5, 2)),
                (7, process(6, 4)),
                (8, process(1, 8)),
                // Read at different times, so they seem to form a ring.
                (20, process(21, 1)),
                (21, process(20, 1)),
            ]),
        };
        let usage = census.usage(5);
        assert_eq!(usage.pids, [5, 6, 7]);
        assert_eq!((usage.tasks, usage.resident), (7, 3 * page_size()));
        assert_eq!(census.usage(20).tasks, 2);
        assert_eq!(census.usage(30), Usage::default());
    }

    #[test]
    fn this_process_is_found_with_its_memory() {
        let me = i32::try_from(std::process::id()).unwrap();
        let usage = Census::recent().usage(me);
        assert!(usage.pids.contains(&me) && usage.tasks >= 1);
        assert!(usage.resident > 1 << 20, "{usage:?}");
        let mine = proportional(&[me]).unwrap();
        assert!(mine > 0 && mine <= usage.resident * 2, "{mine} {usage:?}");
    }
}
