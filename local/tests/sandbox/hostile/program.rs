//! Attacks on the program of the machine that enters the sandbox: it is never executed under the image's loader, nor changed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use landfall_sandbox::Exit;
use serde_json::json;

use crate::image::{self, File, LINK};
use crate::machine::{TestMachine, base, processes};
use crate::stub::{Reply, Request};

/// What a refusal says.
const REFUSED: &str = "Landfall's own program";
/// The first words of the hostile loader.
const LOADER_RUNS: &str = "the hostile loader runs";
/// How often a command is executed while the image looks for its moment.
const EXECS: usize = 100;

/// The file of the machine's program, as far as an attack could change it.
#[derive(Debug, PartialEq)]
struct OwnFile {
    inode: u64,
    mode: u32,
    owner: u32,
    size: u64,
    modified: (i64, i64),
}

fn own_file() -> OwnFile {
    let it = std::env::current_exe().unwrap().metadata().unwrap();
    OwnFile {
        inode: it.ino(),
        mode: it.mode(),
        owner: it.uid(),
        size: it.size(),
        modified: (it.mtime(), it.mtime_nsec()),
    }
}

/// An image whose loader is hostile, with ways to name the program that starts it.
fn machine() -> TestMachine {
    let scratch = base();
    let at = |name: &str| scratch.path().join(name);
    let loader = image::compile_source(
        "loader.c",
        include_str!("loader.c"),
        &at("loader"),
        &["-nostdlib", "-static-pie", "-fno-stack-protector"],
    );
    let interpreted = image::compile(&at("interpreted"), &["-Wl,--dynamic-linker=/proc/self/exe"]);
    let files: [File<'_>; 6] = [
        ("lib64/ld-linux-x86-64.so.2", &loader, 0o755),
        ("lib/ld-linux-aarch64.so.1", &loader, 0o755),
        ("link", b"/proc/self/exe", LINK),
        ("script", b"#!/proc/self/exe\n", 0o755),
        ("nested", b"#! /script\n", 0o755),
        ("interpreted", &interpreted, 0o755),
    ];
    TestMachine::with(&files, json!({}))
}

/// Commands that the kernel would answer with the program that starts them.
const WAYS: [&str; 6] = [
    "/proc/self/exe",
    "/proc/thread-self/exe",
    "/link",
    "/script",
    "/nested",
    "/interpreted",
];

pub(super) fn not_executed() {
    let before = own_file();
    let machine = machine();
    for way in WAYS {
        let mut order = machine.order("attack", &[]);
        order.argv = vec![way.to_owned()];
        match machine.start(order) {
            Reply::Error(text) => assert!(text.contains(REFUSED), "{way}: {text}"),
            Reply::Started { .. } => panic!("{way} ran: {:?}", machine.wait("attack")),
            other => panic!("{way}: {other:?}"),
        }
        assert_eq!(own_file(), before, "{way}");
    }
    // Open files of the program that starts the command lead nowhere either.
    for number in 3..12 {
        let mut order = machine.order(&format!("file-{number}"), &[]);
        order.argv = vec![format!("/proc/self/fd/{number}")];
        assert!(matches!(machine.start(order), Reply::Error(_)), "{number}");
    }
    assert_eq!(own_file(), before);
}

pub(super) fn not_executed_by_exec() {
    let before = own_file();
    let machine = machine();
    machine.started(machine.order("one", &["wait"]));
    let exec = |command: &str| machine.exec("one", &[command]);
    for way in WAYS {
        match exec(way) {
            Reply::Error(text) => assert!(text.contains(REFUSED), "{way}: {text}"),
            Reply::Ended { output, .. } => {
                assert!(!output.iter().any(|line| line == LOADER_RUNS), "{way}");
                panic!("{way} ran: {output:?}");
            }
            other => panic!("{way}: {other:?}"),
        }
        assert_eq!(own_file(), before, "{way}");
    }
    for number in 3..12 {
        let reply = exec(&format!("/proc/self/fd/{number}"));
        assert!(matches!(reply, Reply::Error(_)), "{number}: {reply:?}");
    }
    assert_eq!(own_file(), before);
}

pub(super) fn not_caught() {
    let before = own_file();
    let machine = TestMachine::new();
    machine.started(machine.order("hunter", &["hunt"]));
    machine.said("hunter", "hunting");
    for _ in 0..EXECS {
        let reply = machine.exec("hunter", &["/probe", "exit", "0"]);
        assert!(
            matches!(
                reply,
                Reply::Ended {
                    exit: Exit::Code(0),
                    ..
                }
            ),
            "{reply:?}"
        );
    }
    let Reply::Ended { exit, output, .. } =
        machine.ask(&Request::Stop("hunter".to_owned(), 10_000))
    else {
        panic!("it does not stop");
    };
    assert_eq!(exit, Exit::Code(7));
    assert_eq!(output, ["hunting", "asked to stop"]);
    assert_eq!(own_file(), before);
}

/// A path that changes between the look at it and its execution leads to no more than one that does not.
pub(super) fn not_swapped() {
    let machine = machine();
    machine.started(machine.order("swap", &["swap"]));
    machine.said("swap", "swapping");
    let (mut good, mut refused) = (0, 0);
    for _ in 0..2 * EXECS {
        match machine.exec("swap", &["/target", "exit", "5"]) {
            Reply::Ended {
                exit: Exit::Code(5),
                ..
            } => good += 1,
            Reply::Error(text) if text.contains(REFUSED) => refused += 1,
            // Between the refusal and its explanation the path has changed again.
            Reply::Error(text) if text.contains("Permission denied") => refused += 1,
            other => panic!("after {good} and {refused} refused: {other:?}"),
        }
    }
    assert!(good > 0 && refused > 0, "{good}, {refused} refused");
}

/// The program that stays in the sandbox is a copy that nobody can change, and the image cannot open it.
pub(super) fn file_server_is_closed() {
    let before = own_file();
    let machine = TestMachine::new();
    machine.started(machine.order("one", &["wait"]));
    let reply = machine.ask(&Request::Files("one".to_owned()));
    assert_eq!(reply, Reply::Done);
    let mine = machine.traces().processes;
    let inside: Vec<i32> = processes()
        .into_keys()
        .filter(|pid| mine.contains_key(pid) && inner_pid(*pid).is_some())
        .collect();
    let servers: Vec<i32> = inside
        .into_iter()
        .filter(|pid| !std::fs::read_link(exe(*pid)).unwrap().ends_with("probe"))
        .collect();
    assert_eq!(servers.len(), 1, "{servers:?}");
    for pid in servers {
        let number = inner_pid(pid).unwrap();
        for file in ["exe", "mem", "maps", "fd/0", "cwd", "root"] {
            let path = format!("/proc/{number}/{file}");
            let output = machine.exec_output("one", &["open", &path]);
            assert_eq!(output, [format!("{path}: EACCES")]);
        }
        let program = exe(pid);
        let copy = program.metadata().unwrap();
        let own = std::env::current_exe().unwrap().metadata().unwrap();
        assert_ne!((copy.dev(), copy.ino()), (own.dev(), own.ino()));
        // Not even this user, who has all powers over the instance, changes it.
        let output = Command::new("chmod")
            .arg("4755")
            .arg(&program)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("Read-only file system"), "{text}");
    }
    assert_eq!(own_file(), before);
}

fn exe(pid: i32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string()).join("exe")
}

/// The number of a process in its instance; none where it is in none.
fn inner_pid(pid: i32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    // The machine's, the cloud's, the instance's.
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    (numbers.len() == 3).then(|| numbers[2].to_owned())
}
