//! The system calls of instances: those of Docker's default profile, for all processes of an instance.
//!
//! There are two filters. The first allows the calls of [`ALLOWED`] and returns ENOSYS for all others, like an older
//! kernel. Programs then do without them (clone3, io_uring), and calls of later kernels are refused too. The kernel
//! runs the second filter first: it returns EPERM for known, refused calls, and checks arguments.
//! Docker's: <https://github.com/moby/profiles/tree/main/seccomp>. Decision 33 lists the differences.

use std::collections::BTreeMap;

use nix::libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The calls of ordinary programs. Missing capabilities restrict them further.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // Files and folders.
    SYS_chdir, SYS_chroot, SYS_copy_file_range, SYS_faccessat, SYS_fadvise64, SYS_fallocate, SYS_fchdir, SYS_fchmod,
    SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fdatasync, SYS_fgetxattr, SYS_flistxattr, SYS_flock,
    SYS_fremovexattr, SYS_fsetxattr, SYS_fstat, SYS_fstatfs, SYS_fsync, SYS_ftruncate, SYS_getcwd, SYS_getdents64,
    SYS_getxattr, SYS_lgetxattr, SYS_linkat, SYS_listxattr, SYS_llistxattr, SYS_lremovexattr, SYS_lseek,
    SYS_lsetxattr, SYS_mkdirat, SYS_mknodat, SYS_name_to_handle_at, SYS_newfstatat, SYS_openat, SYS_readlinkat,
    SYS_removexattr, SYS_renameat, SYS_renameat2, SYS_setxattr, SYS_statfs, SYS_statx, SYS_symlinkat, SYS_sync,
    SYS_sync_file_range, SYS_syncfs, SYS_truncate, SYS_umask, SYS_unlinkat, SYS_utimensat,
    // Descriptors: reading, writing, waiting.
    SYS_close, SYS_dup, SYS_dup3, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2,
    SYS_fanotify_mark, SYS_fcntl, SYS_inotify_add_watch, SYS_inotify_init1, SYS_inotify_rm_watch, SYS_io_cancel,
    SYS_io_destroy, SYS_io_getevents, SYS_io_setup, SYS_io_submit, SYS_ioctl, SYS_memfd_create, SYS_pipe2,
    SYS_ppoll, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_pselect6, SYS_pwrite64, SYS_pwritev, SYS_pwritev2,
    SYS_read, SYS_readahead, SYS_readv, SYS_sendfile, SYS_signalfd4, SYS_splice, SYS_tee, SYS_timerfd_create,
    SYS_timerfd_gettime, SYS_timerfd_settime, SYS_vmsplice, SYS_write, SYS_writev, IO_PGETEVENTS,
    // The network.
    SYS_accept, SYS_accept4, SYS_bind, SYS_connect, SYS_getpeername, SYS_getsockname, SYS_getsockopt, SYS_listen,
    SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_sendmmsg, SYS_sendmsg, SYS_sendto, SYS_setsockopt, SYS_shutdown,
    SYS_socket, SYS_socketpair,
    // Memory.
    SYS_brk, SYS_madvise, SYS_membarrier, SYS_mincore, SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_mmap, SYS_mprotect,
    SYS_mremap, SYS_msync, SYS_munlock, SYS_munlockall, SYS_munmap, SYS_pkey_alloc, SYS_pkey_free,
    SYS_pkey_mprotect, SYS_remap_file_pages,
    // Processes, threads and their limits.
    SYS_clone, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_futex, SYS_get_robust_list, SYS_getcpu,
    SYS_getpgid, SYS_getpid, SYS_getppid, SYS_getpriority, SYS_getrlimit, SYS_getrusage, SYS_getsid, SYS_gettid,
    SYS_ioprio_get, SYS_ioprio_set, SYS_personality, SYS_prctl, SYS_prlimit64, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_ptrace, SYS_restart_syscall, SYS_rseq, SYS_sched_get_priority_max,
    SYS_sched_get_priority_min, SYS_sched_getaffinity, SYS_sched_getattr, SYS_sched_getparam,
    SYS_sched_getscheduler, SYS_sched_rr_get_interval, SYS_sched_setaffinity, SYS_sched_setattr, SYS_sched_setparam,
    SYS_sched_setscheduler, SYS_sched_yield, SYS_seccomp, SYS_set_robust_list, SYS_set_tid_address, SYS_setpgid,
    SYS_setpriority, SYS_setrlimit, SYS_setsid, SYS_wait4, SYS_waitid,
    // Users and powers.
    SYS_capget, SYS_capset, SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getgroups, SYS_getresgid, SYS_getresuid,
    SYS_getuid, SYS_setfsgid, SYS_setfsuid, SYS_setgid, SYS_setgroups, SYS_setregid, SYS_setresgid, SYS_setresuid,
    SYS_setreuid, SYS_setuid,
    // Signals.
    SYS_kill, SYS_rt_sigaction, SYS_rt_sigpending, SYS_rt_sigprocmask, SYS_rt_sigqueueinfo, SYS_rt_sigreturn,
    SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_tgsigqueueinfo, SYS_sigaltstack, SYS_tgkill, SYS_tkill,
    // Clocks and the machine. Setting a clock needs a capability; reading it by adjtimex does not.
    SYS_adjtimex, SYS_clock_adjtime, SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_getitimer,
    SYS_getrandom, SYS_gettimeofday, SYS_nanosleep, SYS_setitimer, SYS_sysinfo, SYS_timer_create, SYS_timer_delete,
    SYS_timer_getoverrun, SYS_timer_gettime, SYS_timer_settime, SYS_times, SYS_uname,
    // Messages, semaphores and memory between processes of one instance.
    SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open, SYS_mq_timedreceive, SYS_mq_timedsend, SYS_mq_unlink, SYS_msgctl,
    SYS_msgget, SYS_msgrcv, SYS_msgsnd, SYS_semctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_shmat, SYS_shmctl,
    SYS_shmdt, SYS_shmget,
];

/// Waits for asynchronous I/O, like io_getevents; not all headers of the C library have its name.
const IO_PGETEVENTS: c_long = if cfg!(target_arch = "x86_64") {
    333
} else {
    292
};

/// Calls that exist only on x86-64.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[c_long] = &[
    SYS_access, SYS_alarm, SYS_arch_prctl, SYS_chmod, SYS_chown, SYS_creat, SYS_dup2, SYS_epoll_create,
    SYS_epoll_ctl_old, SYS_epoll_wait, SYS_epoll_wait_old, SYS_eventfd, SYS_fork, SYS_futimesat,
    SYS_get_thread_area, SYS_getdents, SYS_getpgrp, SYS_inotify_init, SYS_lchown, SYS_link, SYS_lstat, SYS_mkdir,
    SYS_mknod, SYS_modify_ldt, SYS_open, SYS_pause, SYS_pipe, SYS_poll, SYS_readlink, SYS_rename, SYS_rmdir,
    SYS_select, SYS_set_thread_area, SYS_signalfd, SYS_stat, SYS_symlink, SYS_time, SYS_unlink, SYS_utime,
    SYS_utimes, SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Newer calls. From 424 on a call has one number on every machine, and not every C library has its name:
/// pidfd_send_signal, pidfd_open, close_range, openat2, faccessat2, epoll_pwait2, landlock_create_ruleset,
/// landlock_add_rule, landlock_restrict_self, memfd_secret, process_mrelease, futex_waitv, cachestat, fchmodat2,
/// map_shadow_stack, futex_wake, futex_wait, futex_requeue, statmount, listmount, mseal, setxattrat, getxattrat,
/// listxattrat, removexattrat.
#[rustfmt::skip]
const ALLOWED_NEW: &[c_long] = &[
    424, 434, 436, 437, 439, 441, 444, 445, 446, 447, 448, 449, 451, 452, 453, 454, 455, 456, 457, 458, 462, 463,
    464, 465, 466,
];

/// Calls refused with EPERM: calls for the machine's administrator, and calls that attackers have used to escape.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // Namespaces and mounts.
    SYS_mount, SYS_pivot_root, SYS_setns, SYS_umount2, SYS_unshare, 428, 429, 430, 431, 432, 433, 442,
    // Keyrings, which no namespace separates.
    SYS_add_key, SYS_keyctl, SYS_request_key,
    // Programs in the kernel, and kernel inspection.
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_lookup_dcookie, SYS_fanotify_init,
    // io_uring_setup, io_uring_enter, io_uring_register.
    425, 426, 427,
    // Other processes: kcmp, pidfd_getfd, process_madvise.
    SYS_kcmp, 438, 440,
    // The machine as a whole.
    SYS_acct, SYS_clock_settime, SYS_delete_module, SYS_finit_module, SYS_init_module, SYS_kexec_load,
    SYS_nfsservctl, SYS_open_by_handle_at, SYS_quotactl, SYS_reboot, SYS_setdomainname, SYS_sethostname,
    SYS_settimeofday, SYS_swapoff, SYS_swapon, SYS_syslog, SYS_vhangup, 443,
    // Memory of the machine's nodes.
    SYS_get_mempolicy, SYS_mbind, SYS_migrate_pages, SYS_move_pages, SYS_set_mempolicy, 450,
];

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const REFUSED_HERE: &[c_long] = &[
    SYS__sysctl, SYS_ioperm, SYS_iopl, SYS_kexec_file_load, SYS_sysfs, SYS_uselib, SYS_ustat,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// The flags of clone(2) that create namespaces. It cannot create a time namespace.
const NAMESPACES: [c_int; 7] = [
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
];

/// The socket families that services use. The others have rarely used code in the kernel, and AF_VSOCK leaves the
/// network namespace.
const FAMILIES: [c_int; 5] = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET];

/// The allowed arguments of personality(2), as in Docker: Linux with its two address variants, or a query.
const PERSONALITIES: [c_int; 5] = [0, 0x8, 0x2_0000, 0x2_0008, -1];

/// Applies the filters to this process and its later programs. The process must be unable to gain privileges.
///
/// # Errors
///
/// When the kernel has no filters; the command does not run then.
pub(super) fn restrict() -> Result<(), String> {
    let [allowed, refused] = TargetArch::try_from(std::env::consts::ARCH)
        .and_then(filters)
        .map_err(|error| format!("make the system call filter: {error}"))?;
    for filter in [allowed, refused] {
        seccompiler::apply_filter(&filter).map_err(|error| {
            format!("limit system calls (the kernel needs CONFIG_SECCOMP_FILTER): {error}")
        })?;
    }
    Ok(())
}

fn filters(arch: TargetArch) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let plain = |lists: [&[c_long]; 3]| -> BTreeMap<i64, Vec<SeccompRule>> {
        lists
            .concat()
            .into_iter()
            .map(|call| (call, Vec::new()))
            .collect()
    };
    let allowed = SeccompFilter::new(
        plain([ALLOWED, ALLOWED_HERE, ALLOWED_NEW]),
        SeccompAction::Errno(ENOSYS.unsigned_abs()),
        SeccompAction::Allow,
        arch,
    )?;
    let mut refused = plain([REFUSED, REFUSED_HERE, &[]]);
    let any_namespace: Result<_, _> = NAMESPACES
        .into_iter()
        .map(|flag| {
            let mask = u64::from(flag.unsigned_abs());
            rule([(SeccompCmpOp::MaskedEq(mask), mask)])
        })
        .collect();
    refused.insert(SYS_clone, any_namespace?);
    refused.insert(SYS_socket, vec![none_of(&FAMILIES)?]);
    refused.insert(SYS_personality, vec![none_of(&PERSONALITIES)?]);
    let refused = SeccompFilter::new(
        refused,
        SeccompAction::Allow,
        SeccompAction::Errno(EPERM.unsigned_abs()),
        arch,
    )?;
    Ok([allowed.try_into()?, refused.try_into()?])
}

/// Matches if the first argument is none of these.
fn none_of(values: &[c_int]) -> Result<SeccompRule, seccompiler::BackendError> {
    rule(values.iter().map(|value| {
        let value = u64::from(u32::from_ne_bytes(value.to_ne_bytes()));
        (SeccompCmpOp::Ne, value)
    }))
}

/// Matches if the first argument meets all of these.
fn rule(
    conditions: impl IntoIterator<Item = (SeccompCmpOp, u64)>,
) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .into_iter()
        .map(|(op, value)| SeccompCondition::new(0, Dword, op, value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_refused() {
        let allowed = [ALLOWED, ALLOWED_HERE, ALLOWED_NEW].concat();
        let refused = [REFUSED, REFUSED_HERE].concat();
        let mut all = [allowed, refused].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a call is listed twice");
    }

    #[test]
    fn filters_fit_into_the_kernel() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            for filter in filters(arch).unwrap() {
                // BPF_MAXINSNS
                assert!(filter.len() < 4096, "{}", filter.len());
            }
        }
    }
}
