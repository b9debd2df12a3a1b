//! The processor time of instances, from the kernel's data about their processes.
//!
//! Control groups have the same data, but an ordinary user cannot use them everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

/// The unit of the kernel's processor time: `USER_HZ` is 100 for user space on all machines with Linux.
const TICK: Duration = Duration::from_millis(10);

/// A process: its parent, and the processor time of itself and its ended children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    used: Duration,
}

/// The processor time of each of these processes with all its descendants. Ended processes are left out. The time of
/// an ended process does not count if its parent did not wait for it.
pub fn processor_times(roots: &[i32]) -> BTreeMap<i32, Duration> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, read(&stat)?))
    });
    sum(roots, &processes.collect())
}

/// The fields of `/proc/PID/stat`: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn read(stat: &str) -> Option<Process> {
    // The name is in parentheses and may contain any of them.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Counted from the third field: state, ppid, …; utime is the 14th, and stime, cutime and cstime follow.
    let used: u32 = fields
        .get(11..15)?
        .iter()
        .map(|field| field.parse::<u32>().unwrap_or_default())
        .sum();
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        used: TICK * used,
    })
}

fn sum(roots: &[i32], processes: &BTreeMap<i32, Process>) -> BTreeMap<i32, Duration> {
    let mut times: BTreeMap<i32, Duration> = roots
        .iter()
        .filter(|root| processes.contains_key(root))
        .map(|root| (*root, Duration::ZERO))
        .collect();
    for (pid, process) in processes {
        let mut at = *pid;
        // Parents are read at different times, so the walk ends after as many steps as there are processes, even in
        // an apparent ring.
        for _ in 0..processes.len() {
            if let Some(time) = times.get_mut(&at) {
                *time += process.used;
                break;
            }
            match processes.get(&at) {
                Some(process) => at = process.parent,
                None => break,
            }
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_is_read_whatever_the_name() {
        let stat = "17 (a) b (c) S 4 17 17 0 -1 4194560 150 0 0 0 12 30 5 3 20 0 1 0 99 1 1 1";
        let expected = Process {
            parent: 4,
            used: Duration::from_millis(500),
        };
        assert_eq!(read(stat), Some(expected));
        assert_eq!(read("17 (a"), None);
        assert_eq!(read("17 (a) S 4"), None);
    }

    #[test]
    fn a_process_counts_for_the_nearest_of_those_asked_for() {
        let process = |parent, seconds| Process {
            parent,
            used: Duration::from_secs(seconds),
        };
        let processes = BTreeMap::from([
            (1, process(0, 100)),
            (5, process(1, 1)),
            (6, process(5, 2)),
            (7, process(6, 4)),
            (9, process(1, 8)),
            // Read at different times.
            (20, process(21, 50)),
            (21, process(20, 50)),
        ]);
        let seconds = Duration::from_secs;
        assert_eq!(
            sum(&[5, 9, 30], &processes),
            BTreeMap::from([(5, seconds(7)), (9, seconds(8))])
        );
    }

    #[test]
    fn who_is_busy_uses_time() {
        let me = i32::try_from(std::process::id()).unwrap();
        let before = processor_times(&[me])[&me];
        let mut sum = 0_u64;
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while processor_times(&[me])[&me] < before + Duration::from_millis(50) {
            assert!(std::time::Instant::now() < deadline);
            sum = (0..1_000_000_u64).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
    }
}
