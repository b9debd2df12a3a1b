//! Process 1 of an instance: the command itself, or a reaper where one is wanted.

use std::time::{Duration, Instant};

use landfall_sandbox::Exit;
use serde_json::json;

use crate::instances::has;
use crate::machine::TestMachine;
use crate::stub::{Reply, Request, Start};

pub(crate) const CASES: &[(&str, fn())] = &[
    ("process_one::is_the_command", command),
    ("process_one::output_is_open_by_path", output_by_path),
    ("process_one::own_signals_are_dropped", own_signals),
    ("process_one::stop_without_handler_is_fast", fast_stop),
    ("stop_signal::is_the_images_own", stop_signal),
    ("init::command_is_a_child", child),
    ("init::orphans_are_reaped", orphans),
    ("init::ends_are_passed_on", ends),
    ("init::stop_reaches_the_command", stop),
    ("init::reaper_is_closed", closed),
];

fn command() {
    let machine = TestMachine::new();
    let output = machine.output(&["show", "list", "/proc"]);
    has(&output, "pid=1");
    let processes = output
        .iter()
        .filter_map(|line| line.strip_prefix("/proc/")?.parse::<u32>().ok());
    assert_eq!(processes.collect::<Vec<_>>(), [1]);
}

/// As of `ln -sf /proc/1/fd/1 /var/log/access.log`.
fn output_by_path() {
    let machine = TestMachine::new();
    for user in ["0", "1000"] {
        let words = [
            "write",
            "/proc/1/fd/1",
            "out\n",
            "write",
            "/proc/1/fd/2",
            "err\n",
        ];
        let (exit, output) = machine.run_as(Some(user), &words);
        assert_eq!(exit, Exit::Code(0));
        for line in [
            "out",
            "err",
            "write /proc/1/fd/1: ok",
            "write /proc/1/fd/2: ok",
        ] {
            has(&output, line);
        }
        // A further command says it to the instance's log, too.
        let id = format!("log-{user}");
        let mut order = machine.order(&id, &["wait"]);
        order.user = Some(user.to_owned());
        machine.started(order);
        let output = machine.exec_output(&id, &["write", "/proc/1/fd/1", "from beside\n"]);
        assert_eq!(output, ["write /proc/1/fd/1: ok"]);
        machine.said(&id, "from beside");
    }
}

fn own_signals() {
    let machine = TestMachine::new();
    let (exit, _) = machine.run(&["raise", "15", "raise", "9", "exit", "5"]);
    assert_eq!(exit, Exit::Code(5));
}

fn timed_stop(machine: &TestMachine, id: &str) -> (Exit, Duration) {
    let began = Instant::now();
    match machine.ask(&Request::Stop(id.to_owned(), 10_000)) {
        Reply::Ended { exit, .. } => (exit, began.elapsed()),
        other => panic!("{other:?}"),
    }
}

fn fast_stop() {
    let machine = TestMachine::new();
    machine.started(machine.order("plain", &["wait"]));
    let (exit, took) = timed_stop(&machine, "plain");
    assert_eq!(exit, Exit::Signal(9));
    assert!(took < Duration::from_secs(5), "{took:?}");
    // No handler either, and yet the signal is taken.
    machine.started(machine.order("waiting", &["sigwait"]));
    machine.said("waiting", "waiting");
    assert_eq!(timed_stop(&machine, "waiting").0, Exit::Code(8));
}

/// By any name that Docker takes, and with a reaper before the command as well.
fn stop_signal() {
    for (name, number) in [("sigquit", "3"), ("SIGRTMIN+3", "37")] {
        let machine = TestMachine::with(&[], json!({"StopSignal": name}));
        for init in [false, true] {
            let id = format!("init-{init}");
            machine.started(Start {
                init,
                ..machine.order(&id, &["trap-number", number, "say", "ready", "wait"])
            });
            machine.said(&id, "ready");
            let exit = timed_stop(&machine, &id).0;
            assert_eq!(exit, Exit::Code(7), "{name}, init: {init}");
        }
    }
}

fn with_init(machine: &TestMachine, id: &str, words: &[&str]) {
    machine.started(Start {
        init: true,
        ..machine.order(id, words)
    });
}

fn run(words: &[&str]) -> (Exit, Vec<String>) {
    let machine = TestMachine::new();
    with_init(&machine, "one", words);
    machine.wait("one")
}

fn child() {
    let (exit, output) = run(&["show"]);
    assert_eq!(exit, Exit::Code(0));
    has(&output, "pid=2");
}

fn orphans() {
    let (_, output) = run(&["orphan", "orphan", "pause", "400", "list", "/proc"]);
    let pids: Vec<u32> = output
        .iter()
        .filter_map(|line| line.strip_prefix("/proc/")?.parse().ok())
        .collect();
    // Its own two children are its own to reap; theirs were process 1's.
    assert!(pids.len() <= 4, "{pids:?}");
}

fn ends() {
    assert_eq!(run(&["exit", "42"]).0, Exit::Code(42));
    // As a shell has it: process 1 itself ends by no signal of its own.
    assert_eq!(run(&["raise", "6"]).0, Exit::Code(128 + 6));
    assert_eq!(run(&["raise", "15"]).0, Exit::Code(128 + 15));
    assert_eq!(run(&["raise", "37"]).0, Exit::Code(128 + 37));
}

fn stop() {
    let machine = TestMachine::new();
    with_init(&machine, "plain", &["wait"]);
    let (exit, took) = timed_stop(&machine, "plain");
    assert_eq!(exit, Exit::Code(128 + 15));
    assert!(took < Duration::from_secs(5), "{took:?}");
    with_init(&machine, "polite", &["trap", "say", "ready", "wait"]);
    machine.said("polite", "ready");
    assert_eq!(timed_stop(&machine, "polite").0, Exit::Code(7));
}

fn closed() {
    let (_, output) = run(&[
        "open",
        "/proc/1/exe",
        "open",
        "/proc/1/mem",
        "open",
        "/proc/1/fd/1",
    ]);
    assert_eq!(
        output,
        [
            "/proc/1/exe: EACCES",
            "/proc/1/mem: EACCES",
            "/proc/1/fd/1: EACCES"
        ]
    );
}
