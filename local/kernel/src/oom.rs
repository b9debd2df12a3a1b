//! Which processes the kernel ends first when the whole machine is out of memory: instances, and the cloud late.
//!
//! <https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html>

use std::fs;

/// For the cloud's own processes. Root alone may go below what a process has from its parent.
const CLOUD: &str = "-800";

/// For the processes of instances; without `CAP_SYS_RESOURCE` they cannot go below it.
const INSTANCE: &str = "500";

/// Makes this process, and what it starts, one of the last that the kernel ends.
pub fn protect() {
    // An ordinary user may not, and its instances go first all the same.
    let _ = fs::write("/proc/self/oom_score_adj", CLOUD);
}

/// Makes a process, and what it starts from then on, one of the first.
pub fn prefer(pid: i32) {
    // It may have ended.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), INSTANCE);
}
