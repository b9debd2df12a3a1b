//! The two processes of a running cloud, by their pids in its lock file, and whether they are stopped.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The name that both processes have, see `comm` in proc_pid_comm(5).
pub(super) const NAME: &std::ffi::CStr = c"landfall-cloud";

/// The pids of a cloud: the outer process first, then the inner one once that is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pids(Vec<i32>);

impl Pids {
    /// Writes the pids of this process and of its child, one a line.
    pub(super) fn write(mut lock: &File, inner: Option<u32>) -> io::Result<()> {
        lock.set_len(0)?;
        let mut text = format!("{}\n", std::process::id());
        if let Some(inner) = inner {
            text.push_str(&format!("{inner}\n"));
        }
        io::Seek::rewind(&mut lock)?;
        lock.write_all(text.as_bytes())
    }

    /// Reads them. None are known of a cloud that is only just writing them.
    pub(super) fn read(lock: &Path) -> Self {
        let text = std::fs::read_to_string(lock).unwrap_or_default();
        Self(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// The outer process.
    pub(super) fn outer(&self) -> Option<i32> {
        self.0.first().copied()
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Those that a signal (SIGSTOP, SIGTSTP) or a debugger has stopped: they answer nothing until they are continued.
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

/// Whether this is the `stat` of a part of a cloud that is stopped. The pid may belong to another program by now.
fn stat_says_stopped(stat: &str) -> bool {
    let Some((name, rest)) = stat
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(')'))
    else {
        return false;
    };
    name.as_bytes() == NAME.to_bytes() && matches!(rest.trim_start().as_bytes(), [b'T' | b't', ..])
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
        assert_eq!(Pids::read(&dir.path().join("none")).outer(), None);
    }
}
