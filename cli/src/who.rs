//! The name of the lock's holder, shown to callers that find the stack locked.

/// This user on this machine: `ana@build-3`.
pub(crate) fn am_i() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(set);
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .or_else(|| ["HOSTNAME", "COMPUTERNAME"].into_iter().find_map(set));
    match (user, machine) {
        (Some(user), Some(machine)) => format!("{user}@{machine}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "somebody".to_owned(),
    }
}
