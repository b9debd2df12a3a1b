//! What is left of an engine when its daemon has ended: a containerd, and containers with those that watch them.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

/// How long what was killed may take to be gone.
const END: Duration = Duration::from_secs(10);

/// How long a control group may take to be empty; where somebody else is in it, it stays.
const VACATE: Duration = Duration::from_secs(2);

/// How often it is looked whether it is gone.
const LOOK: Duration = Duration::from_millis(20);

/// Kills every process of the engine that has this directory, waits until they are gone, and removes the control
/// groups that are empty then. Some start others when one of them ends.
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
            // It may have ended by itself, which is what is wanted.
            let _ = send(process, Signal::SIGKILL);
        }
        std::thread::sleep(LOOK);
    }
    // The daemon was in the same ones as this process.
    for own in groups_of(Pid::this()) {
        groups.remove(&own);
    }
    let deadline = Instant::now() + VACATE;
    loop {
        // A process is in its group for a moment longer than it has mounts.
        groups.retain(|group| std::fs::remove_dir(group).is_err() && group.exists());
        if groups.is_empty() || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// The processes that have the mark in their command line, as containerd has it, or among their mounts: the layers
/// of a container are in the directory. One that has ended and was not waited for has neither.
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

/// The folders of the control groups that a process is in.
///
/// <https://man7.org/linux/man-pages/man7/cgroups.7.html>
fn groups_of(process: Pid) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let folders = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(":/")?;
        // The hierarchy of version 2 has no controllers here, and is below the others where there are both.
        let hierarchies = match controllers.trim_start_matches("name=") {
            "" => vec!["", "unified"],
            controllers => vec![controllers],
        };
        let folder = |hierarchy| Path::new("/sys/fs/cgroup").join(hierarchy).join(path);
        Some(hierarchies.into_iter().map(folder).collect::<Vec<_>>())
    };
    text.lines().filter_map(folders).flatten().collect()
}
