//! How the background process starts and ends.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use landfall_local::testing::process::{Error, Launch, running};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::{TestMachine, WAIT_TIMEOUT, base, processes};
use crate::stub::{Reply, Request, SCRIPT};

pub(crate) const CASES: &[(&str, fn())] = &[
    (
        "a_killed_outer_process_takes_everything_along",
        killed_outer,
    ),
    (
        "a_killed_inner_process_takes_everything_along",
        killed_inner,
    ),
    ("sigterm_ends_the_cloud_in_order", orderly_end),
    ("of_two_starts_at_once_one_makes_the_cloud", two_starts),
    ("a_killed_cloud_is_replaced", replaced),
    ("a_failing_cloud_says_why", failing),
    ("a_program_without_hook_is_an_error", not_hooked),
    ("a_part_of_a_cloud_starts_no_other", nested),
    ("ports_are_opened_on_the_machines_loopback", loopback),
    ("forbidden_user_namespaces_are_explained", forbidden),
];

/// A cloud with two instances.
fn busy() -> TestMachine {
    let machine = TestMachine::new();
    machine.started(machine.order("one", &["wait"]));
    machine.started(machine.order("two", &["orphan", "wait"]));
    machine
}

/// The inner process of a cloud.
fn inner(machine: &TestMachine) -> i32 {
    let outer = machine.outer();
    let mut all = processes().into_iter();
    all.find(|(_, process)| process.parent == outer)
        .expect("the outer process has a child")
        .0
}

fn killed_outer() {
    let machine = busy();
    let traces = machine.traces();
    // Outer, inner, and one of each instance.
    assert!(traces.processes.len() >= 4, "{traces:#?}");
    assert!(traces.namespaces.len() >= 5, "{traces:#?}");
    kill(Pid::from_raw(machine.outer()), Signal::SIGKILL).unwrap();
    traces.assert_gone();
    let run = machine.base.path().join("run");
    assert!(running(&run).unwrap().is_none());
    assert_eq!(names(&run), ["cloud.lock", "cloud.log"]);
}

fn killed_inner() {
    let machine = busy();
    let traces = machine.traces();
    kill(Pid::from_raw(inner(&machine)), Signal::SIGKILL).unwrap();
    traces.assert_gone();
    // The outer process has tidied up.
    assert_eq!(
        names(&machine.base.path().join("run")),
        ["cloud.lock", "cloud.log"]
    );
}

fn orderly_end() {
    let machine = busy();
    let traces = machine.traces();
    let began = Instant::now();
    kill(Pid::from_raw(machine.outer()), Signal::SIGTERM).unwrap();
    traces.assert_gone();
    // An inner process that does not listen would be killed after ten seconds.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        names(&machine.base.path().join("run")),
        ["cloud.lock", "cloud.log"]
    );
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn two_starts() {
    let base = base();
    let launch = Launch::new(base.path().join("run"));
    let began = Instant::now();
    let clouds: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| launch.connect_or_start().unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(clouds.iter().filter(|cloud| cloud.started).count(), 1);
    // Nobody tried a second one, which would have waited for the first to end.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let pid = clouds[0].pid.unwrap();
    assert!(clouds.iter().all(|cloud| cloud.pid == Some(pid)));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

fn replaced() {
    let machine = TestMachine::new();
    let first = machine.outer();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    // At once: the next start has to wait until the processes of the first are gone.
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let cloud = loop {
        let cloud = Launch::new(machine.base.path().join("run"))
            .connect_or_start()
            .unwrap();
        if cloud.started {
            break cloud;
        }
        assert!(Instant::now() < deadline, "the killed cloud still answers");
    };
    assert_ne!(cloud.pid, Some(first));
    kill(Pid::from_raw(cloud.pid.unwrap()), Signal::SIGKILL).unwrap();
}

fn failing() {
    for (script, expected) in [
        ("fail", "the stub was told to fail"),
        ("die", "it ended (exit status: 3) before it was ready"),
        ("hang", "it was not ready within 300ms"),
    ] {
        let base = base();
        let run = base.path().join("run");
        std::fs::create_dir(&run).unwrap();
        std::fs::write(run.join(SCRIPT), script).unwrap();
        let launch = Launch {
            ready_within: Duration::from_millis(300),
            ..Launch::new(run.clone())
        };
        let error = launch.connect_or_start().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(running(&run).unwrap().is_none());
        // The lock is free once all processes are gone.
        let lock = std::fs::File::open(run.join("cloud.lock")).unwrap();
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while lock.try_lock().is_err() {
            assert!(Instant::now() < deadline, "{script}: a process is left");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(names(&run), ["cloud.lock", "cloud.log", SCRIPT]);
    }
}

fn not_hooked() {
    // One says nothing and ends, one says something else, one says nothing and stays.
    let base = base();
    for program in ["/bin/true", "/bin/echo", "/bin/cat"] {
        let launch = Launch {
            program: Some(PathBuf::from(program)),
            ..Launch::new(base.path().join("run"))
        };
        let error = launch.connect_or_start().unwrap_err();
        assert!(
            matches!(&error, Error::NotHooked { .. }),
            "{program}: {error}"
        );
        assert!(error.to_string().contains(program), "{error}");
    }
}

fn nested() {
    let machine = TestMachine::new();
    let dir = machine.base.path().join("other");
    match machine.ask(&Request::Launch(dir)) {
        Reply::Error(text) => assert!(text.contains("itself a part of one"), "{text}"),
        other => panic!("{other:?}"),
    }
}

fn loopback() {
    let machine = TestMachine::new();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        // Not every machine has IPv6.
        if std::net::TcpListener::bind(address).is_err() {
            continue;
        }
        let Reply::Bound(address) = machine.ask(&Request::Bind(address.to_owned())) else {
            panic!("{address}");
        };
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello from inside");
    }
    // A port that is taken, and an address that is not loopback.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (address, expected) in [(taken.as_str(), "in use"), ("0.0.0.0:0", "denied")] {
        match machine.ask(&Request::Bind(address.to_owned())) {
            Reply::Error(text) => assert!(text.contains(expected), "{text}"),
            other => panic!("{address}: {other:?}"),
        }
    }
}

/// What [`forbidden`] is to do in the program executed again.
const FORBIDDEN: &str = "LANDFALL_TEST_FORBIDDEN";

/// A start where the kernel allows no more user namespaces: inside of one whose limit is 0.
fn forbidden() {
    let output = Command::new("/proc/self/exe")
        .env(FORBIDDEN, "enter")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for expected in [
        "max_user_namespaces = 0",
        "sudo sysctl -w",
        "or run as root",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

/// To be called before there is a second thread, for [`forbidden`].
pub(crate) fn enter_forbidden() {
    match std::env::var(FORBIDDEN).as_deref() {
        Ok("enter") => {
            let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).unwrap();
            std::fs::write("/proc/self/setgroups", "deny").unwrap();
            std::fs::write("/proc/self/uid_map", format!("1000 {user} 1")).unwrap();
            std::fs::write("/proc/self/gid_map", format!("1000 {group} 1")).unwrap();
            std::fs::write("/proc/sys/user/max_user_namespaces", "0").unwrap();
            // Executed again, this process has no powers in its namespace.
            panic!(
                "{}",
                Command::new("/proc/self/exe")
                    .env(FORBIDDEN, "inside")
                    .exec()
            );
        }
        Ok("inside") => {
            let base = base();
            let error = Launch::new(base.path().join("run"))
                .connect_or_start()
                .unwrap_err();
            println!("{error}");
            drop(base);
            std::process::exit(0);
        }
        _ => {}
    }
}
