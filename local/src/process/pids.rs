//! The two processes of a running cloud: their pids in its lock file, and whether they are stopped.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The name of both processes, see `comm` in proc_pid_comm(5).
pub(super) const NAME: &std::ffi::CStr = c"landfall-cloud";

/// The pids of a cloud: the outer process first, then the inner one after its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pids(Vec<i32>);

impl Pids {
    /// Writes the pids of this process and of its child, one per line.
    pub(super) fn write(mut lock: &File, inner: Option<u32>) -> io::Result<()> {
        lock.set_len(0)?;
        let mut text = format!("{}\n", std::process::id());
        if let Some(inner) = inner {
            text.push_str(&format!("{inner}\n"));
        }
        io::Seek::rewind(&mut lock)?;
        lock.write_all(text.as_bytes())
    }

    /// Reads the pids. Empty while the cloud is writing them.
    pub(super) fn read(lock: &Path) -> Self {
        let text = std::fs::read_to_string(lock).unwrap_or_default();
        Self(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// The outer process.
    pub(super) fn outer(&self) -> Option<i32> {
        self.0.first().copied()
    }

    /// The number of pids.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Only the inner process, which answers clients. Empty before its start.
    pub(crate) fn inner(&self) -> Self {
        Self(self.0.get(1).copied().into_iter().collect())
    }

    /// Whether the inner process has been started.
    pub(crate) fn is_known(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether the inner process exists.
    pub(crate) fn is_serving(&self) -> bool {
        self.inner().0.into_iter().any(is_alive)
    }

    /// The processes that a signal (SIGSTOP, SIGTSTP) or a debugger has stopped.
    pub(crate) fn stopped(&self) -> Option<Self> {
        let stopped: Vec<i32> = self
            .0
            .iter()
            .copied()
            .filter(|pid| is_stopped(*pid))
            .collect();
        (!stopped.is_empty()).then_some(Self(stopped))
    }
}

/// The pids, separated by spaces.
impl fmt::Display for Pids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pids: Vec<String> = self.0.iter().map(i32::to_string).collect();
        f.write_str(&pids.join(" "))
    }
}

fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat_says_stopped(&stat)
}

/// Whether this process exists and has not ended.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    matches!(state(&stat), Some(state) if !matches!(state, b'Z' | b'X'))
}

/// Whether this is the `stat` of a stopped part of a cloud. The pid may have been reused by another program.
fn stat_says_stopped(stat: &str) -> bool {
    matches!(state(stat), Some(b'T' | b't'))
}

/// The state in the `stat` of a part of a cloud.
fn state(stat: &str) -> Option<u8> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let state = rest.trim_start().bytes().next();
    state.filter(|_| name.as_bytes() == NAME.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_behind_the_name() {
        for (stat, stopped) in [
            ("7 (landfall-cloud) T 1 7 7 0", true),
            ("7 (landfall-cloud) t 1 7 7 0", true),
            ("7 (landfall-cloud) S 1 7 7 0", false),
            ("7 (T) T 1 7 7 0", false),
            ("7 (a) T (landfall-cloud) S 1", false),
            ("", false),
        ] {
            assert_eq!(stat_says_stopped(stat), stopped, "{stat}");
        }
    }

    #[test]
    fn process_that_has_ended_serves_nobody() {
        assert_eq!(state("7 (landfall-cloud) Z 1 7 7 0"), Some(b'Z'));
        assert!(!Pids(vec![7]).is_serving(), "not started yet");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(!Pids(vec![7, child.id().cast_signed()]).is_serving());
    }

    #[test]
    fn pids_are_read_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = File::create(&path).unwrap();
        Pids::write(&file, None).unwrap();
        let me = std::process::id().cast_signed();
        assert_eq!(Pids::read(&path), Pids(vec![me]));
        Pids::write(&file, Some(7)).unwrap();
        assert_eq!(Pids::read(&path), Pids(vec![me, 7]));
        assert_eq!(Pids::read(&path).to_string(), format!("{me} 7"));
        assert_eq!(Pids::read(&path).inner(), Pids(vec![7]));
        assert_eq!(Pids::read(&dir.path().join("none")).outer(), None);
    }
}
