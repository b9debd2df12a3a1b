//! What an instance may use, and what ends one that uses more: it alone, with the reason.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use landfall_compute::{ByteSize, CpuShare, Limits};
use landfall_sandbox::Exit;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::TestMachine;
use crate::stub::{Reply, Request};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("limits::memory_bomb_ends_alone", memory_bomb),
    ("limits::shared_memory_bomb_ends_alone", shared_memory_bomb),
    ("limits::shared_pages_count_once", shared_pages),
    ("limits::fork_bomb_ends_alone", fork_bomb),
    ("limits::full_disk_ends_alone", full_disk),
    ("limits::disks_are_separate", separate_disks),
    ("limits::empty_files_end_alone", empty_files),
    ("limits::output_is_slowed_down", spam),
    ("limits::cpu_quota", cpu_quota),
    ("limits::groups_are_removed", groups_removed),
    ("limits::groups_of_killed_clouds_are_swept", groups_swept),
    ("limits::instances_go_before_the_cloud", oom_order),
];

/// Small enough for a test, and large enough for the probe.
const SMALL: Limits = Limits {
    memory: Some(ByteSize::mib(64)),
    cpu: None,
    processes: Some(64),
    disk: Some(ByteSize::mib(32)),
};

/// Runs an attack with [`SMALL`] limits beside an instance that has to stay; gives how the attacker ended.
fn attack(words: &[&str]) -> (String, Vec<String>) {
    let machine = TestMachine::new();
    machine.started(machine.order("neighbour", &["say", "here", "wait"]));
    let mut order = machine.order("attacker", words);
    order.limits = SMALL;
    machine.started(order);
    let reply = machine.ask(&Request::Wait("attacker".to_owned()));
    let Reply::Ended { how, output, .. } = reply else {
        panic!("{reply:?}");
    };
    // It is still there. It has no handler for its stop signal, so it is killed at once.
    let stop = Request::Stop("neighbour".to_owned(), 10_000);
    match machine.ask(&stop) {
        Reply::Ended { exit, .. } => assert_eq!(exit, Exit::Signal(9)),
        other => panic!("{other:?}"),
    }
    assert_eq!(machine.ask(&Request::Scratch), Reply::List(vec![]));
    (how, output)
}

/// The same, with the reason both as how it ended and in its log.
fn ends(words: &[&str], reason: &str) {
    let (how, output) = attack(words);
    assert_eq!(how, reason);
    let last = output.last().map(String::as_str);
    assert_eq!(
        last,
        Some(format!("landfall: the instance {reason}").as_str())
    );
}

fn memory_bomb() {
    ends(&["eat", "private"], "ended: out of memory (limit 64 MiB)");
}

fn shared_memory_bomb() {
    ends(&["eat", "shared"], "ended: out of memory (limit 64 MiB)");
}

/// Ten processes that share 40 MiB have 40 MiB, and not 400.
fn shared_pages() {
    let machine = TestMachine::new();
    let mut order = machine.order(
        "server",
        &["share", "40", "10", "pause", "1500", "say", "done"],
    );
    order.limits = SMALL;
    machine.started(order);
    let reply = machine.ask(&Request::Wait("server".to_owned()));
    let Reply::Ended { how, output, .. } = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(
        (how.as_str(), output.as_slice()),
        ("exited with code 0", &["done".to_owned()][..])
    );
}

fn fork_bomb() {
    ends(
        &["fork-bomb"],
        "ended: too many processes and threads (limit 64)",
    );
}

fn full_disk() {
    let (how, output) = attack(&["fill", "/big", "wait"]);
    assert_eq!(how, "ended: its disk is full (limit 32 MiB)");
    assert_eq!(output[0], "fill: ENOSPC");
    // One that ends by itself is known by it too.
    let (how, _) = attack(&["fill", "/tmp/big", "exit", "1"]);
    assert_eq!(how, "exited with code 1: its disk is full (limit 32 MiB)");
}

fn empty_files() {
    let (how, output) = attack(&["many-files", "/tmp", "wait"]);
    assert_eq!(how, "ended: its disk is full (limit 2048 files on 32 MiB)");
    assert_eq!(output[0], "many-files: ENOSPC");
    // Neither does the memory that is mounted elsewhere take any number of them; that is no disk of its.
    let (how, output) = attack(&["many-files", "/dev/shm", "exit", "0"]);
    assert_eq!(output, ["many-files: ENOSPC"]);
    assert_eq!(how, "exited with code 0");
}

/// What one instance writes takes no room from another.
fn separate_disks() {
    let machine = TestMachine::new();
    let mut order = machine.order("full", &["fill", "/big", "say", "full", "wait"]);
    order.limits = SMALL;
    machine.started(order);
    let mut order = machine.order("other", &["pause", "500", "fill", "/big", "exit", "0"]);
    order.limits.disk = Some(ByteSize::mib(16));
    machine.started(order);
    assert_eq!(machine.wait("other").1[0], "fill: ENOSPC");
    machine.output(&["write", "/file", "there is room"]);
}

/// Endless output takes neither memory nor time from the others.
fn spam() {
    for line in ["a line of some length, as services write them", ""] {
        let machine = TestMachine::new();
        let before = resident(&machine);
        machine.started(machine.order("loud", &["spam", line]));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            let asked = Instant::now();
            machine.output(&["exit", "0"]);
            assert!(
                asked.elapsed() < Duration::from_secs(3),
                "{:?}",
                asked.elapsed()
            );
        }
        let reply = machine.ask(&Request::Stop("loud".to_owned(), 1000));
        let Reply::Ended { output, .. } = reply else {
            panic!("{reply:?}");
        };
        assert!(!output.is_empty());
        let grown = resident(&machine).saturating_sub(before);
        assert!(grown < 32 << 20, "{grown} bytes more");
    }
}

/// The memory of the cloud's inner process in bytes.
fn resident(machine: &TestMachine) -> u64 {
    let processes = crate::machine::processes();
    let (pid, _) = processes
        .iter()
        .find(|(_, process)| process.parent == machine.outer())
        .unwrap();
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Half a processor is half a processor, where the machine has control groups for it.
fn cpu_quota() {
    let machine = TestMachine::new();
    let mut order = machine.order("busy", &["spin", "2000"]);
    order.limits.cpu = CpuShare::from_thousandths(250);
    let Reply::Started { notes } = machine.start(order) else {
        panic!("it does not start");
    };
    let (_, output) = machine.wait("busy");
    let used = output[0].strip_prefix("used ").unwrap();
    let used: u64 = used.strip_suffix(" ms").unwrap().parse().unwrap();
    if groups_of_this_machine() == 0 {
        assert!(
            notes[0].contains("processor time is not enforced"),
            "{notes:?}"
        );
    } else {
        assert_eq!(notes, Vec::<String>::new());
        assert!(used < 750, "{used} ms of 2 s");
    }
}

/// The folders of control groups of clouds, all over the machine, that have an instance of this name.
fn groups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = next.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_str() == Some(id) {
                found.push(entry.path());
            }
            next.push(entry.path());
        }
    }
    found
}

/// How many trees of control groups this user can make groups in.
fn groups_of_this_machine() -> usize {
    let machine = TestMachine::new();
    let id = format!("probe-{}", machine.outer());
    machine.started(machine.order(&id, &["wait"]));
    groups(&id).len()
}

fn groups_removed() {
    let machine = TestMachine::new();
    let id = format!("ends-{}", machine.outer());
    machine.started(machine.order(&id, &["orphan", "wait"]));
    let during = groups(&id);
    let clouds: Vec<_> = during
        .iter()
        .map(|path| path.parent().unwrap().to_owned())
        .collect();
    machine.ask(&Request::Stop(id.clone(), 1000));
    assert_eq!(groups(&id), Vec::<PathBuf>::new());
    // They go with a cloud, in order or by force.
    machine.started(machine.order(&id, &["wait"]));
    assert_eq!(groups(&id).len(), during.len());
    let inner = crate::machine::processes()
        .into_iter()
        .find(|(_, process)| process.parent == machine.outer())
        .unwrap();
    let traces = machine.traces();
    kill(Pid::from_raw(inner.0), Signal::SIGKILL).unwrap();
    traces.assert_gone();
    assert_eq!(
        clouds.iter().filter(|path| path.exists()).count(),
        0,
        "{clouds:?}"
    );
}

/// With nobody left to remove them they stay, until the next cloud starts, whichever it is.
fn groups_swept() {
    let machine = TestMachine::new();
    let id = format!("left-{}", machine.outer());
    machine.started(machine.order(&id, &["wait"]));
    let traces = machine.traces();
    kill(Pid::from_raw(machine.outer()), Signal::SIGKILL).unwrap();
    traces.assert_gone();
    let next = TestMachine::new();
    next.output(&["exit", "0"]);
    assert_eq!(groups(&id), Vec::<PathBuf>::new());
}

/// When the machine itself is out of memory, the kernel ends instances first.
fn oom_order() {
    let machine = TestMachine::new();
    let output = machine.output(&[
        "cat",
        "/proc/self/oom_score_adj",
        "write",
        "/proc/self/oom_score_adj",
        "-900",
        "cat",
        "/proc/self/oom_score_adj",
    ]);
    assert_eq!(output[0], "500");
    let last: i32 = output[2].parse().unwrap();
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", machine.outer()));
    let score: i32 = score.unwrap().trim().parse().unwrap();
    if may_lower_oom_score() {
        assert_eq!((score, last), (-800, 500));
    } else {
        // It may go back to what its user has, and no further.
        assert!(last >= score, "{last} {score}");
    }
}

/// Whether this user may say that the kernel should spare a process: `CAP_SYS_RESOURCE`, which even root can lack.
fn may_lower_oom_score() -> bool {
    let script = "echo -800 > /proc/self/oom_score_adj";
    let output = Command::new("sh").args(["-c", script]).output();
    output.unwrap().status.success()
}
