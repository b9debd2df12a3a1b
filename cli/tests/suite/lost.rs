//! A cloud that exits or is stopped while a command waits for it: the command detects it, names it
//! and exits.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Ran;
use crate::support::Project;

/// The time in which a command exits after its cloud was killed, with a margin for a busy machine.
const DELETE_TIMEOUT: Duration = Duration::from_secs(3);

/// The time in which a command names a stopped cloud.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

/// The file of a stack with a bastion, whose service is `well` or `sick`.
fn file(stack: &str, mode: &str) -> String {
    format!(
        "stack = \"{stack}\"\n\n[network.bastion]\nallow = [\"203.0.113.250/32\"]\nkey = \"key.pub\"\n\n\
         [service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n\
         env = {{ MODE = \"{mode}\" }}\n"
    )
}

fn project(stack: &str, mode: &str) -> Project {
    let project = Project::with_service(&file(stack, mode));
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl test";
    project.write("key.pub", key);
    project
}

/// The processes of the cloud: the outer one, which clients know, and the inner one.
fn pids(project: &Project) -> [String; 2] {
    let text = std::fs::read_to_string(project.runtime_dir().join("cloud.lock")).unwrap();
    let pids: Vec<String> = text.lines().map(str::to_owned).collect();
    pids.try_into().unwrap()
}

fn signal(name: &str, pids: &[String]) {
    let mut command = Command::new("sh");
    command
        .args(["-c", "kill -s \"$0\" \"$@\"", name])
        .args(pids);
    assert!(command.status().unwrap().success());
}

/// Starts a command and returns once a line of its output contains this text.
fn start_until(project: &Project, args: &[&str], text: &str) -> Child {
    let mut command = project.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "no `{text}`");
        if line.contains(text) {
            break;
        }
    }
    // The remaining output is read and ignored.
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    child
}

/// Waits for the end of a command, and returns the duration.
fn end(mut child: Child, since: Instant) -> (Ran, Duration) {
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).unwrap();
    }
    let code = child.wait().unwrap().code();
    let ran = Ran {
        code,
        stdout,
        stderr,
    };
    (ran, since.elapsed())
}

/// Kills one of the processes during a deploy's health wait, which would last minutes.
fn killed_in_health_wait(stack: &str, which: usize) {
    let project = project(stack, "sick");
    let deploy = start_until(&project, &["deploy", "--json"], "\"await\"");
    signal("KILL", &pids(&project)[which..=which]);
    let (ran, took) = end(deploy, Instant::now());
    assert!(took < DELETE_TIMEOUT, "{took:?}: {ran:#?}");
    ran.ended_with(1);

    // The text output reports the same.
    let deploy = project.spawn(&["deploy"]);
    let ready = project.runtime_dir().join("cloud.sock");
    let held = || ready.exists() && project.landfall(&["status"]).stdout.contains("web");
    while !held() {
        std::thread::sleep(Duration::from_millis(50));
    }
    signal("KILL", &pids(&project)[which..=which]);
    let (ran, took) = end(deploy, Instant::now());
    assert!(took < DELETE_TIMEOUT, "{took:?}: {ran:#?}");
    let ran = ran.ended_with(1).saying(&[
        "error: the local cloud has ended",
        "nothing is left of the stack",
        "`deploy` starts it again",
    ]);
    assert_eq!(
        ran.stderr.matches("the local cloud has ended").count(),
        1,
        "{ran:#?}"
    );
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn outer_process_killed_in_health_wait() {
    killed_in_health_wait("lost-outer", 0);
}

#[test]
fn inner_process_killed_in_health_wait() {
    killed_in_health_wait("lost-inner", 1);
}

/// Processes of a cloud that are stopped until this is dropped. It holds only processes that still
/// exist then: a killed one is gone as soon as its parent continues.
struct Stopped(Vec<String>);

impl Stopped {
    fn new(project: &Project, which: std::ops::Range<usize>) -> Self {
        let pids = pids(project)[which].to_vec();
        signal("STOP", &pids);
        Self(pids)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

/// Every command that asks the cloud.
const COMMANDS: [&[&str]; 17] = [
    &["deploy"],
    &["plan"],
    &["status"],
    &["status", "--watch"],
    &["releases"],
    &["logs", "web"],
    &["logs", "-f", "web"],
    &["exec", "web", "--", "/service"],
    &["ssh", "web"],
    &["ssh-config"],
    &["explain", "internet", "web", "--live"],
    &["scale", "web=3"],
    &["rollback", "web"],
    &["stop"],
    &["start"],
    &["unlock", "--yes"],
    &["destroy", "--yes"],
];

/// Each command fails in time, and says this.
fn named(project: &Project, commands: &[&[&str]], parts: &[&str]) {
    let began = Instant::now();
    let running: Vec<Child> = commands.iter().map(|args| project.spawn(args)).collect();
    for (args, child) in commands.iter().zip(running) {
        let (ran, took) = end(child, began);
        assert!(took < NAMED_WITHIN, "{args:?} took {took:?}: {ran:#?}");
        assert_eq!(ran.code, Some(1), "{args:?}: {ran:#?}");
        for part in parts {
            assert!(ran.stderr.contains(part), "{args:?}: {ran:#?}");
        }
    }
}

#[test]
fn stopped_cloud_is_named_by_every_command() {
    let project = project("lost-still", "well");
    project.landfall(&["deploy"]).ended_with(0);
    let parts = ["does not answer", "stopped", "kill -CONT"];
    let stopped = Stopped::new(&project, 0..2);
    for commands in COMMANDS.chunks(6) {
        named(&project, commands, &parts);
    }
    drop(stopped);
    // The inner process answers requests.
    let stopped = Stopped::new(&project, 1..2);
    named(&project, &[&["status"]], &parts);
    drop(stopped);
    project.landfall(&["status"]).ended_with(0);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn ended_cloud_with_stopped_process_is_named_by_every_command() {
    let project = project("lost-half", "well");
    project.landfall(&["deploy"]).ended_with(0);
    let stopped = Stopped::new(&project, 0..1);
    signal("KILL", &pids(&project)[1..]);
    let parts = ["the local cloud has ended", "is stopped", "kill -CONT"];
    for commands in COMMANDS.chunks(6) {
        named(&project, commands, &parts);
    }
    drop(stopped);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn stopped_first_process_is_named_where_it_is_needed() {
    let project = project("lost-first", "well");
    project.landfall(&["deploy"]).ended_with(0);
    let mut logs = start_until(&project, &["logs", "-f", "web"], "");
    let stopped = Stopped::new(&project, 0..1);
    let since = Instant::now();
    project.landfall(&["status"]).ended_with(0);
    // Longer than a stopped process is waited for: the other one serves on.
    while since.elapsed() < Duration::from_secs(3) {
        assert!(logs.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(50));
    }
    let parts = ["the local cloud has ended", "is stopped", "kill -CONT"];
    named(&project, &[&["destroy", "--yes"]], &parts);
    let (ran, _) = end(logs, since);
    ran.ended_with(0);
    drop(stopped);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn stopped_cloud_is_named_by_running_commands() {
    let project = project("lost-run", "well");
    project.landfall(&["deploy"]).ended_with(0);
    let logs = start_until(&project, &["logs", "-f", "web"], "");
    let hosts = project.landfall(&["ssh-config", "-i", "key.pub", "--json"]);
    let hosts = hosts.ended_with(0).json();
    let bastion = hosts["hosts"][0]["host"]["public_address"]
        .as_str()
        .unwrap();
    let dir = project.runtime_dir();
    let dial = [
        "dial",
        "--runtime-dir",
        dir.to_str().unwrap(),
        bastion,
        "22",
    ];
    let dial = start_until(&project, &dial, "SSH-2.0");
    let mut watch = start_until(&project, &["status", "--watch", "--json"], "\"status\"");
    project.write("landfall.toml", &file("lost-run", "sick"));
    let deploy = start_until(&project, &["deploy", "--json"], "\"await\"");
    let stopped = Stopped::new(&project, 0..2);
    let since = Instant::now();
    for child in [logs, deploy, dial] {
        let (ran, took) = end(child, since);
        assert!(took < NAMED_WITHIN, "{took:?}: {ran:#?}");
        assert_eq!(ran.code, Some(1), "{ran:#?}");
    }
    // It names the cloud, and continues to wait.
    let mut line = String::new();
    let mut stderr = BufReader::new(watch.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("stopped"), "{line}");
    assert!(since.elapsed() < NAMED_WITHIN, "{:?}", since.elapsed());
    drop(stopped);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    assert!(watch.wait().unwrap().success());
    project.nothing_is_left();
}

#[test]
fn logs_that_follow_end_with_their_cloud() {
    let project = project("lost-logs", "well");
    project.landfall(&["deploy"]).ended_with(0);
    let logs = start_until(&project, &["logs", "-f", "web"], "");
    signal("KILL", &pids(&project)[..1]);
    let (ran, took) = end(logs, Instant::now());
    assert!(took < DELETE_TIMEOUT, "{took:?}: {ran:#?}");
    ran.ended_with(1).saying(&["the local cloud has ended"]);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
