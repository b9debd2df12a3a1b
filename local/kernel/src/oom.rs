//! The order in which the kernel kills processes when the machine is out of memory: instances first, the cloud late.
//!
//! <https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html>

use std::fs;

/// The value of the cloud's own processes. Only root may set a lower value than the parent's.
const CLOUD: &str = "-800";

/// The value of instances; without `CAP_SYS_RESOURCE` they cannot lower it.
const INSTANCE: &str = "500";

/// Makes this process and its children some of the last to be killed.
pub fn protect() {
    // An ordinary user may not do this; its instances are still killed first.
    let _ = fs::write("/proc/self/oom_score_adj", CLOUD);
}

/// Makes a process and its later children some of the first to be killed.
pub fn prefer(pid: i32) {
    // The process may have ended.
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), INSTANCE);
}
