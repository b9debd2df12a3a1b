//! How much of the processors instances have used: what the kernel tells of their processes.
//!
//! Control groups would tell the same, and an ordinary user cannot have them everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

/// What the kernel counts processor time in: `USER_HZ` is 100 on every machine that Linux has it on for users.
const TICK: Duration = Duration::from_millis(10);

/// A process: its parent, and what it and its children that have ended have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    used: Duration,
}

/// The processor time that each of these processes has used so far, with all that descend from it. A process that is
/// gone is left out. What a process used whose parent did not ask for its end is not counted.
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
    // The name is in parentheses and may have any in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Counted from the third: state, ppid, …; utime is the 14th, and stime, cutime and cstime follow.
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
        // Parents are read at different moments, so what looks like a ring is left after as many steps as there are.
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
            // Read at different moments.
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
