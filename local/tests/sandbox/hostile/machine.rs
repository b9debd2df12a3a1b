//! Attacks on the machine's kernel, devices and mounts.

use std::os::unix::fs::MetadataExt;

use landfall_sandbox::Exit;
use serde_json::json;

use crate::image::{self, LINK};
use crate::machine::{TestMachine, base};
use crate::stub::{Reply, Start};

/// What the filter answers, call by call.
const ANSWERS: [&str; 37] = [
    "clone: ok",
    "clone user: EPERM",
    "clone mount: EPERM",
    "clone pid: EPERM",
    "clone net: EPERM",
    "clone ipc: EPERM",
    "clone uts: EPERM",
    "clone cgroup: EPERM",
    "clone3: ENOSYS",
    "unshare: EPERM",
    "setns: EPERM",
    "mount: EPERM",
    "open_tree: EPERM",
    "fsopen: EPERM",
    "keyctl: EPERM",
    "add_key: EPERM",
    "request_key: EPERM",
    "io_uring_setup: EPERM",
    "bpf: EPERM",
    "perf_event_open: EPERM",
    "userfaultfd: EPERM",
    "open_by_handle_at: EPERM",
    "pidfd_getfd: EPERM",
    "kcmp: EPERM",
    "syslog: EPERM",
    "settimeofday: EPERM",
    "reboot: EPERM",
    "sethostname: EPERM",
    "personality: EPERM",
    "personality now: ok",
    "unknown: ENOSYS",
    "socket vsock: EPERM",
    "socket alg: EPERM",
    "socket inet: ok",
    "socket unix: ok",
    "socket netlink: ok",
    "ptrace: ok",
];

pub(super) fn calls() {
    let scratch = base();
    let program = scratch.path().join("calls");
    let calls = image::compile_source("calls.c", include_str!("calls.c"), &program, &["-static"]);
    let machine = TestMachine::with(&[("calls", &calls, 0o755)], json!({}));
    let expected = ANSWERS.map(str::to_owned).to_vec();
    for (id, init) in [("plain", false), ("with-init", true)] {
        machine.started(Start {
            argv: vec!["/calls".to_owned()],
            init,
            ..machine.order(id, &[])
        });
        let (exit, output) = machine.wait(id);
        assert_eq!((exit, output), (Exit::Code(0), expected.clone()));
    }
    machine.started(machine.order("one", &["wait"]));
    match machine.exec("one", &["/calls"]) {
        Reply::Ended { output, .. } => assert_eq!(output, expected),
        other => panic!("{other:?}"),
    }
}

/// The devices work, and what is done to their nodes stays inside.
pub(super) fn devices() {
    const NAMES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
    let of_the_machine = || {
        NAMES.map(|name| {
            let it = std::fs::metadata(format!("/dev/{name}")).unwrap();
            (it.mode(), it.uid(), it.gid())
        })
    };
    let before = of_the_machine();
    let machine = TestMachine::new();
    for name in NAMES {
        let path = format!("/dev/{name}");
        let output = machine.output(&["chmod", &path]);
        let expected = if nix::unistd::geteuid().is_root() {
            format!("{path}: ok")
        } else {
            format!("{path}: EROFS")
        };
        assert_eq!(output, [expected]);
    }
    assert_eq!(of_the_machine(), before);
    let output = machine.output(&["open", "/dev/null", "write", "/dev/full", "x"]);
    assert_eq!(output, ["/dev/null: ok", "write /dev/full: ENOSPC"]);
}

/// What hides parts of `/proc` would lie at a place that the image can bend later.
pub(super) fn system_links() {
    for name in ["proc", "sys", "dev"] {
        let machine = TestMachine::with(&[(name, b"/tmp", LINK)], json!({}));
        match machine.start(machine.order("one", &["exit", "0"])) {
            Reply::Error(text) => assert!(text.contains("is a symbolic link"), "{text}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// CVE-2024-21626: a working folder by an open file of what starts the command.
pub(super) fn working_folder() {
    for number in 3..12 {
        let cwd = format!("/proc/self/fd/{number}");
        let machine = TestMachine::with(&[], json!({"WorkingDir": cwd}));
        let reply = machine.start(machine.order("one", &["exit", "0"]));
        assert!(matches!(reply, Reply::Error(_)), "{cwd}: {reply:?}");
    }
}
