//! Cleans up after an engine's daemon: its containerd, and containers with their monitors.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

/// The time limit for killed processes to disappear.
const END: Duration = Duration::from_secs(10);

/// The time limit for a control group to become empty; a group with other members stays.
const VACATE: Duration = Duration::from_secs(2);

/// The interval of these checks.
const LOOK: Duration = Duration::from_millis(20);

/// Kills every process of the engine with this directory, waits until they are gone, and removes
/// their empty control groups. Some processes start others when one of them ends.
pub(super) fn kill(dir: &Path) {
    let mut mark = dir.as_os_str().as_bytes().to_vec();
    mark.push(b'/');
    let deadline = Instant::now() + END;
    let mut groups = BTreeSet::new();
    loop {
        let found = processes(&mark);
        if found.is_empty() || Instant::now() >= deadline {
            break;
        }
        for process in found {
            groups.extend(groups_of(process));
            // It may have exited already.
            let _ = send(process, Signal::SIGKILL);
        }
        std::thread::sleep(LOOK);
    }
    // The daemon was in the same groups as this process.
    for own in groups_of(Pid::this()) {
        groups.remove(&own);
    }
    let deadline = Instant::now() + VACATE;
    loop {
        // A process stays in its group a moment longer than its mounts exist.
        groups.retain(|group| std::fs::remove_dir(group).is_err() && group.exists());
        if groups.is_empty() || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// The processes with the mark in their command line, like containerd, or among their mounts: the
/// layers of a container are in the directory. A zombie has neither.
fn processes(mark: &[u8]) -> Vec<Pid> {
    let has = |file: &Path| {
        let text = std::fs::read(file).unwrap_or_default();
        text.windows(mark.len()).any(|part| part == mark)
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let ours = ["cmdline", "mountinfo"];
        ours.iter()
            .any(|name| has(&process.path().join(name)))
            .then_some(Pid::from_raw(pid))
    })
    .collect()
}

/// The directories of a process's control groups.
///
/// <https://man7.org/linux/man-pages/man7/cgroups.7.html>
fn groups_of(process: Pid) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let folders = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(":/")?;
        // Version 2 has no controllers in this file, and is mounted below the others if both exist.
        let hierarchies = match controllers.trim_start_matches("name=") {
            "" => vec!["", "unified"],
            controllers => vec![controllers],
        };
        let folder = |hierarchy| Path::new("/sys/fs/cgroup").join(hierarchy).join(path);
        Some(hierarchies.into_iter().map(folder).collect::<Vec<_>>())
    };
    text.lines().filter_map(folders).flatten().collect()
}
