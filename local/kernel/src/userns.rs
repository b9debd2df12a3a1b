//! User namespaces, and the explanation if the kernel forbids them.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities};

/// Whether this process needs a user namespace to create the other namespaces: it is not root, or root without its
/// capabilities (as in most containers).
pub fn needed() -> bool {
    !(geteuid().is_root()
        && capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN)))
}

/// Enters a new user namespace in which this user is root.
///
/// # Errors
///
/// The failed step, the reason and the remedy.
pub fn enter() -> Result<(), String> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|error| explain("create a user namespace", error))?;
    map((0, user.as_raw()), (0, group.as_raw()))
}

/// Maps one user and one group of the new user namespace: for each, the inner id, then the outer one.
pub fn map(user: (u32, u32), group: (u32, u32)) -> Result<(), String> {
    // An ordinary user may map its group only after setgroups(2) is disabled, see user_namespaces(7).
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {} 1", user.0, user.1)),
        ("gid_map", format!("{} {} 1", group.0, group.1)),
    ] {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).map_err(|error| {
            let code = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            explain(&format!("write {path}"), code)
        })?;
    }
    Ok(())
}

/// Whether this process is in a user namespace with only one user, like that of an ordinary user.
pub fn single_user() -> bool {
    let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.lines().filter_map(count).sum::<u64>() == 1)
}

/// Whether this process is in the machine's initial user namespace.
pub fn initial() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// Whether this kernel counts processes per user namespace. Before 5.14, it counts all processes of the user on the
/// machine, and a desktop has more than an instance may have.
pub fn counts_processes() -> bool {
    fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| counts_since(&release))
}

fn counts_since(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 14),
        _ => false,
    }
}

/// The error of `doing`, with the reason and the remedy for this machine's settings.
pub fn explain(doing: &str, error: Errno) -> String {
    let setting = |name: &str| {
        fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let advice = advice(error, geteuid().is_root() && !single_user(), &setting);
    format!("{doing}: {}{advice}", error.desc())
}

/// The explanation of `error` from the kernel's settings.
fn advice(error: Errno, root: bool, setting: &dyn Fn(&str) -> Option<u64>) -> String {
    /// Each setting that forbids user namespaces, its forbidding value, and an allowing one.
    const SETTINGS: [(&str, u64, u64); 3] = [
        ("user.max_user_namespaces", 0, 15_000),
        // Debian's kernels, see their patch "add sysctl to disallow unprivileged CLONE_NEWUSER by default".
        ("kernel.unprivileged_userns_clone", 0, 1),
        // Ubuntu's kernels since 23.10: the namespace is created, but has no capabilities.
        ("kernel.apparmor_restrict_unprivileged_userns", 1, 0),
    ];
    if !matches!(
        error,
        Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS
    ) {
        return String::new();
    }
    for (name, bad, good) in SETTINGS {
        if setting(name) == Some(bad) {
            return format!(
                ". This machine forbids user namespaces to ordinary users ({name} = {bad}). Allow \
                 them with `sudo sysctl -w {name}={good}`, or run as root"
            );
        }
    }
    match (error, setting("user.max_user_namespaces")) {
        (Errno::ENOSPC | Errno::EUSERS, Some(most)) => format!(
            ". All of the {most} user namespaces that user.max_user_namespaces allows may be in use: \
             raise it with `sudo sysctl -w user.max_user_namespaces={}`",
            most.saturating_mul(2)
        ),
        _ if root => ". This root may not make namespaces: in a container, it needs CAP_SYS_ADMIN \
                      (docker run --privileged)"
            .to_owned(),
        _ => ". The kernel's settings allow user namespaces, so something else forbids them: a \
              container's seccomp profile, a security module, or a chroot. Run outside of it, or as root"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_count_processes_per_namespace() {
        for (release, expected) in [
            ("6.18.44-fc", true),
            ("5.14.0-70.el9", true),
            ("5.13.0-52-generic", false),
            ("4.19.0", false),
            ("", false),
        ] {
            assert_eq!(counts_since(release), expected, "{release}");
        }
    }

    #[test]
    fn the_setting_that_forbids_is_named_with_its_remedy() {
        for (name, bad, remedy) in [
            (
                "user.max_user_namespaces",
                0,
                "sysctl -w user.max_user_namespaces=15000",
            ),
            (
                "kernel.unprivileged_userns_clone",
                0,
                "sysctl -w kernel.unprivileged_userns_clone=1",
            ),
            (
                "kernel.apparmor_restrict_unprivileged_userns",
                1,
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ),
        ] {
            let text = advice(Errno::EPERM, false, &|asked| (asked == name).then_some(bad));
            assert!(text.contains(remedy), "{name}: {text}");
            assert!(text.contains("or run as root"), "{name}: {text}");
        }
    }

    #[test]
    fn other_reasons_are_not_blamed_on_settings() {
        assert_eq!(advice(Errno::ENOMEM, false, &|_| Some(0)), "");
        let allowed = |name: &str| (name == "user.max_user_namespaces").then_some(90);
        assert!(advice(Errno::EPERM, false, &allowed).contains("seccomp"));
        assert!(advice(Errno::EPERM, true, &allowed).contains("CAP_SYS_ADMIN"));
        assert!(advice(Errno::ENOSPC, false, &allowed).contains("=180"));
    }
}
