//! What an instance is, from inside.

use std::time::{Duration, Instant};

use landfall_sandbox::Exit;
use serde_json::json;

use crate::image;
use crate::machine::{TestMachine, WAIT_TIMEOUT};
use crate::stub::{Reply, Request};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("the_image_says_what_runs_and_how", configured),
    ("users_are_the_images_own", users),
    ("ends_are_reported", ends),
    ("stopping_is_polite_first", stopping),
    ("nothing_is_left_of_an_instance", nothing_left),
    ("the_machines_files_and_processes_are_hidden", hidden),
    ("powers_are_dropped", powers),
    ("ports_below_1024_need_no_root", low_port),
    ("writes_stay_in_the_instance", writes),
    ("links_in_the_image_do_not_lead_out", links),
    ("a_command_that_cannot_run_is_explained", explained),
];

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:Web:/srv:/bin/false\n";
const GROUP: &[u8] = b"root:x:0:\nweb:x:102:\nlogs:x:50:web\n";

fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) fn has(output: &[String], line: &str) {
    assert!(
        output.iter().any(|it| it == line),
        "no {line:?} in {output:#?}"
    );
}

fn configured() {
    let machine = TestMachine::with(
        &[("etc/passwd", PASSWD, 0o644), ("etc/group", GROUP, 0o644)],
        json!({
            "Entrypoint": ["/probe"], "Cmd": ["show", "cat", "/etc/hosts", "cat", "/etc/resolv.conf", "complain", "no"],
            "Env": ["A=1", "B=image"], "WorkingDir": "/srv/app", "User": "web",
        }),
    );
    let mut order = machine.order("one", &[]);
    order.argv.clear();
    order.env = [("B".to_owned(), "ours".to_owned())].into();
    machine.started(order);
    let (exit, output) = machine.wait("one");
    assert_eq!(exit, Exit::Code(0));
    for line in [
        "cwd=/srv/app",
        "hostname=web-1",
        "env A=1",
        "env B=ours",
        "env HOME=/srv",
        "env HOSTNAME=web-1",
        "env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "umask=022",
        "sigpipe=default",
        "10.0.1.5 web-1",
        "nameserver 10.0.0.2",
        "no",
    ] {
        has(&output, line);
    }
    let variables = output
        .iter()
        .filter(|line| line.starts_with("env "))
        .count();
    assert_eq!(
        variables, 5,
        "nothing of the cloud's own environment: {output:#?}"
    );
}

fn users() {
    let machine = TestMachine::with(
        &[("etc/passwd", PASSWD, 0o644), ("etc/group", GROUP, 0o644)],
        json!({}),
    );
    // An ordinary user has no other groups to give.
    let groups = |groups: &'static str| if root() { groups } else { "65534" };
    for (user, expected) in [
        ("web", format!("uid=101 gid=102 groups={}", groups("50"))),
        ("101:50", format!("uid=101 gid=50 groups={}", groups(""))),
        ("1000", format!("uid=1000 gid=0 groups={}", groups(""))),
        ("", format!("uid=0 gid=0 groups={}", groups(""))),
    ] {
        let (exit, output) = machine.run_as(Some(user), &["show"]);
        assert_eq!(exit, Exit::Code(0));
        let line = output.iter().find(|line| line.starts_with("uid=")).unwrap();
        // Which other groups an ordinary user has is the machine's matter.
        let shown = if root() {
            line.as_str()
        } else {
            line.split(" groups").next().unwrap()
        };
        let expected = if root() {
            expected.as_str()
        } else {
            expected.split(" groups").next().unwrap()
        };
        assert_eq!(shown, expected, "{user:?}");
    }
    let mut order = machine.order("unknown", &["show"]);
    order.user = Some("nobody".to_owned());
    let Reply::Error(text) = machine.start(order) else {
        panic!()
    };
    assert!(
        text.contains("\"nobody\" is not in the image's /etc/passwd"),
        "{text}"
    );
}

fn ends() {
    let machine = TestMachine::new();
    assert_eq!(machine.run(&["exit", "0"]).0, Exit::Code(0));
    assert_eq!(machine.run(&["exit", "42"]).0, Exit::Code(42));
    // A fault ends a process 1 too.
    let (exit, output) = machine.run(&["say", "last words", "crash"]);
    assert_eq!(
        (exit, output),
        (Exit::Signal(11), vec!["last words".to_owned()])
    );
}

fn stopping() {
    let machine = TestMachine::new();
    // Ignores it: killed after the grace, and not before.
    machine.started(machine.order("deaf", &["ignore", "say", "deaf", "wait"]));
    machine.said("deaf", "deaf");
    let began = Instant::now();
    let reply = machine.ask(&Request::Stop("deaf".to_owned(), 400));
    assert_eq!(
        reply,
        Reply::Ended {
            exit: Exit::Signal(9),
            output: vec!["deaf".to_owned()],
            how: "killed by SIGKILL".to_owned(),
        }
    );
    assert!(began.elapsed() >= Duration::from_millis(400));
    // Handles it.
    machine.started(machine.order("polite", &["trap", "say", "ready", "wait"]));
    machine.said("polite", "ready");
    let reply = machine.ask(&Request::Stop("polite".to_owned(), 10_000));
    let output = ["ready", "asked to stop"].map(str::to_owned).to_vec();
    assert_eq!(
        reply,
        Reply::Ended {
            exit: Exit::Code(7),
            output,
            how: "exited with code 7".to_owned(),
        }
    );
}

fn nothing_left() {
    let machine = TestMachine::new();
    let before = machine.traces();
    machine.started(machine.order("one", &["write", "/tmp/big", "text", "wait"]));
    let during = machine.traces();
    assert!(
        during.processes.len() > before.processes.len(),
        "{during:#?}"
    );
    assert_eq!(
        machine.ask(&Request::Scratch),
        Reply::List(vec!["one".to_owned()])
    );
    assert_eq!(machine.ask(&Request::Drop("one".to_owned())), Reply::Done);
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while machine.traces().namespaces != before.namespaces
        || machine.ask(&Request::Scratch) != Reply::List(vec![])
    {
        assert!(Instant::now() < deadline, "{:#?}", machine.traces());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(machine.traces().processes, before.processes);
}

fn hidden() {
    let machine = TestMachine::new();
    let output = machine.output(&[
        "list",
        "/",
        "list",
        "/proc",
        "list",
        "/dev",
        "cat",
        "/proc/self/mountinfo",
    ]);
    let folders: Vec<_> = output
        .iter()
        .filter(|line| line.matches('/').count() == 1 && line.starts_with('/'))
        .collect();
    let mut folders: Vec<_> = folders.iter().map(|line| line.as_str()).collect();
    folders.sort_unstable();
    assert_eq!(folders, ["/dev", "/etc", "/probe", "/proc", "/sys", "/tmp"]);
    let mut pids: Vec<u32> = output
        .iter()
        .filter_map(|line| line.strip_prefix("/proc/")?.parse().ok())
        .collect();
    pids.sort_unstable();
    assert_eq!(pids, [1], "its own processes only");
    let mut devices: Vec<_> = output
        .iter()
        .filter_map(|line| line.strip_prefix("/dev/"))
        .filter(|it| !it.contains('/') && !it.contains(' '))
        .collect();
    devices.sort_unstable();
    assert_eq!(
        devices,
        [
            "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
            "tty", "urandom", "zero"
        ]
    );
    // No path of the machine shows in what is mounted.
    let dir = machine.base.path().to_str().unwrap();
    assert!(output.iter().all(|line| !line.contains(dir)), "{output:#?}");
    // Standard input, output and error, and the listing itself: nothing of the cloud is open here.
    let files = machine.output(&["list", "/proc/self/fd"]);
    assert_eq!(files.len(), 4, "{files:#?}");
    // What is hidden is empty, what is protected cannot be written.
    let output = machine.output(&[
        "cat",
        "/proc/keys",
        "cat",
        "/proc/timer_list",
        "cat",
        "/proc/kcore",
        "write",
        "/proc/sys/kernel/hostname",
        "x",
        "write",
        "/proc/sysrq-trigger",
        "x",
        "write",
        "/sys/kernel/uevent_helper",
        "x",
    ]);
    has(&output, "write /proc/sys/kernel/hostname: EROFS");
    // Not every kernel has all of these files.
    let refused = |line: &String| {
        ["EROFS", "EACCES", "ENOENT"]
            .iter()
            .any(|it| line.ends_with(it))
    };
    assert!(output.iter().all(refused), "{output:#?}");
}

fn powers() {
    let machine = TestMachine::new();
    for user in ["0", "1000"] {
        let words = [
            "show",
            "cat",
            "/proc/self/status",
            "mount",
            "unmount",
            "/proc",
            "mknod",
            "raw",
        ];
        let (exit, output) = machine.run_as(Some(user), &words);
        assert_eq!(exit, Exit::Code(0));
        has(&output, "nnp=1");
        // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service sys_chroot
        has(&output, "CapBnd:\t00000000000405fb");
        let effective = if user == "0" {
            "00000000000405fb"
        } else {
            "0000000000000000"
        };
        has(&output, &format!("CapEff:\t{effective}"));
        has(&output, &format!("CapPrm:\t{effective}"));
        has(&output, "CapInh:\t0000000000000000");
        has(&output, "CapAmb:\t0000000000000000");
        has(&output, "mount: EPERM");
        has(&output, "unmount: EPERM");
        has(&output, "mknod: EPERM");
        has(&output, "raw: EPERM");
    }
    // Real root may change owners and users; the root of an ordinary user has nobody else.
    let output = machine.output(&["chown", "setuid", "77"]);
    let expected = if root() {
        ["chown: ok", "setuid: ok"]
    } else {
        ["chown: EINVAL", "setuid: EINVAL"]
    };
    assert_eq!(output, expected);
}

fn low_port() {
    let machine = TestMachine::new();
    let (_, output) = machine.run_as(Some("1000:1000"), &["listen", "80"]);
    assert_eq!(output, ["listen: ok"]);
}

fn writes() {
    let machine = TestMachine::with(&[("data/file", b"from the image\n", 0o666)], json!({}));
    let words = [
        "cat",
        "/data/file",
        "write",
        "/data/file",
        "changed\n",
        "cat",
        "/data/file",
        "write",
        "/tmp/new",
        "x",
        "write",
        "/dev/shm/new",
        "x",
        "write",
        "/dev/stdout",
        "out\n",
        "remove",
        "/data/file",
        "list",
        "/data",
    ];
    let expected = [
        "from the image",
        "write /data/file: ok",
        "changed",
        "write /tmp/new: ok",
        "write /dev/shm/new: ok",
        "out",
        "write /dev/stdout: ok",
        "remove: ok",
    ];
    // Twice: the second finds nothing of the first.
    assert_eq!(machine.output(&words), expected);
    assert_eq!(machine.output(&words), expected);
    // Another user of the image may say something on /dev/stdout, too.
    let (_, output) = machine.run_as(
        Some("1000"),
        &["write", "/dev/stdout", "out\n", "write", "/tmp/new", "x"],
    );
    assert_eq!(
        output,
        ["out", "write /dev/stdout: ok", "write /tmp/new: ok"]
    );
}

fn links() {
    let machine = TestMachine::new();
    let outside = machine.base.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    machine.output(&["exit", "0"]);
    // As if the image had them: its unpacked files are plain files here.
    let rootfs = std::fs::read_dir(machine.base.path().join("images"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("rootfs"))
        .find(|path| path.is_dir())
        .unwrap();
    for name in ["etc", "dev", "proc", "sys", "tmp"] {
        std::os::unix::fs::symlink(&outside, rootfs.join(name)).unwrap();
    }
    let mut order = machine.order("linked", &["cat", "/etc/hosts"]);
    order.argv = machine.order("linked", &["exit", "0"]).argv;
    // It fails or it starts; either way nothing appears outside.
    drop(machine.start(order));
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

fn explained() {
    let base = crate::machine::base();
    let dynamic = image::compile(&base.path().join("dynamic"), &[]);
    let mut foreign = dynamic.clone();
    foreign[18] = if cfg!(target_arch = "aarch64") {
        62
    } else {
        183
    };
    let machine = TestMachine::with(
        &[
            ("bin/dynamic", &dynamic, 0o755),
            ("bin/foreign", &foreign, 0o755),
            ("bin/text", b"plain text", 0o755),
            ("bin/script", b"#!/bin/sh\necho\n", 0o755),
            ("bin/closed", b"", 0o644),
        ],
        json!({}),
    );
    for (command, expected) in [
        ("/app", "exec \"/app\": no such file in the image"),
        (
            "app",
            "exec \"app\": no such program in the image (PATH is ",
        ),
        ("dynamic", "dynamically linked"),
        ("foreign", "build the image for this platform"),
        ("text", "neither a program"),
        ("script", "/bin/sh"),
        ("/bin/closed", "chmod +x"),
    ] {
        let mut order = machine.order("bad", &[]);
        order.argv = vec![command.to_owned()];
        let Reply::Error(text) = machine.start(order) else {
            panic!("{command} ran")
        };
        assert!(text.starts_with("start instance bad: exec "), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let mut order = machine.order("none", &[]);
    order.argv.clear();
    let Reply::Error(text) = machine.start(order) else {
        panic!("no command ran")
    };
    assert!(text.contains("add ENTRYPOINT or CMD"), "{text}");
    // Nothing is left of all these.
    assert_eq!(machine.ask(&Request::Scratch), Reply::List(vec![]));
}
