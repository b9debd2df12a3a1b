//! The limit on open files, and its distribution to the parts of the cloud.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The minimum for a cloud: its own files, and those of a small stack and its clients.
pub const LEAST: u64 = 256;

/// The maximum number of files for each part that clients can fill, as shares of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget(usize);

impl Budget {
    /// The budget under this process's current limit.
    pub fn now() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(LEAST, |(soft, _)| soft);
        Self::of(limit)
    }

    fn of(limit: u64) -> Self {
        Self(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// Connections of clients to the control socket: an eighth.
    pub fn control(self) -> usize {
        (self.0 / 8).min(4096)
    }

    /// Connections to loopback ports: a quarter, with two files each.
    pub fn forwarded(self) -> usize {
        (self.0 / 8).min(4096)
    }

    /// Connections to all SSH servers together: a sixteenth.
    pub fn ssh(self) -> usize {
        (self.0 / 16).min(1024)
    }

    /// Connections to the internet host that returns the caller's address: a sixteenth.
    pub fn internet(self) -> usize {
        (self.0 / 16).min(64)
    }
}

/// Raises the limit to the maximum that the machine allows.
///
/// # Errors
/// When the maximum is too low for a cloud. The error names the limit, the minimum, and the way to raise it.
pub fn raise() -> Result<(), String> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| format!("read the limit of open files: {}", error.desc()))?;
    enough(hard)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(|error| format!("raise the limit of open files to {hard}: {}", error.desc()))
}

fn enough(hard: u64) -> Result<(), String> {
    if hard >= LEAST {
        return Ok(());
    }
    Err(format!(
        "this session may have {hard} files open at once (`ulimit -Hn`), and the local cloud needs {LEAST} or more. \
         Raise the limit where the session gets it: /etc/security/limits.conf, LimitNOFILE of a systemd unit, or \
         `docker run --ulimit nofile=65536`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_files_are_refused_with_a_remedy() {
        let refusal = enough(64).unwrap_err();
        assert!(refusal.contains("may have 64 files"), "{refusal}");
        assert!(refusal.contains("needs 256"), "{refusal}");
        assert_eq!(enough(LEAST), Ok(()));
    }

    #[test]
    fn shares_leave_half_to_instances_and_balancers() {
        for limit in [LEAST, 1024, 20_000, u64::MAX] {
            let budget = Budget::of(limit);
            let taken =
                budget.control() + 2 * budget.forwarded() + budget.ssh() + budget.internet();
            assert!(taken as u64 <= limit / 2, "{limit}: {taken}");
            assert!(budget.internet() >= 16, "{limit}");
        }
    }
}
