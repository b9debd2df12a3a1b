//! The same hostile program in Docker and in an instance: what is closed there is closed here.

use std::collections::BTreeMap;
use std::process::Command;

use landfall_testkit::engines::Program;
use serde_json::json;

use crate::image;
use crate::machine::{TestMachine, base};

/// What the probe tries beside the system calls: masked files, devices, keys, powers.
const TRIES: [&str; 19] = [
    "open",
    "/proc/kcore",
    "open",
    "/proc/sysrq-trigger",
    "open",
    "/proc/sys/kernel/hostname",
    "open",
    "/proc/sys/vm/drop_caches",
    "open",
    "/proc/irq/default_smp_affinity",
    "open",
    "/sys/power/state",
    "open",
    "/dev/mem",
    "open",
    "/dev/kmsg",
    "mknod",
    "raw",
    "mount",
];

/// Closed in Docker and open here, on purpose.
const DIFFERENCES: [&str; 0] = [];

/// The answers by what was tried.
fn answers(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, String> {
    let answers = lines.into_iter().filter_map(|line| {
        let (tried, answer) = line.rsplit_once(": ")?;
        Some((tried.to_owned(), answer.to_owned()))
    });
    answers.collect()
}

fn checked(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn as_closed_as_docker() {
    let scratch = base();
    let at = |name: &str| scratch.path().join(name);
    let calls = image::compile_source(
        "calls.c",
        include_str!("calls.c"),
        &at("calls"),
        &["-static"],
    );
    image::compile(&at("probe"), &["-static"]);

    let machine = TestMachine::with(&[("calls", &calls, 0o755)], json!({}));
    machine.started(machine.order("one", &["wait"]));
    let call_lines = match machine.exec("one", &["/calls"]) {
        crate::stub::Reply::Ended { output, .. } => output,
        other => panic!("{other:?}"),
    };
    let ours = answers(
        call_lines
            .into_iter()
            .chain(machine.exec_output("one", &TRIES)),
    );

    let engine = Program::Docker.start().unwrap();
    let docker = |words: &[&str]| {
        let mut command = Command::new("docker");
        command.args(["--host", &engine.docker_host()]).args(words);
        command
    };
    let archive = at("image.tar");
    checked(
        Command::new("tar")
            .args(["--create", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(scratch.path())
            .args(["calls", "probe"]),
    );
    checked(&mut docker(&[
        "import",
        archive.to_str().unwrap(),
        "hostile",
    ]));
    let run = ["run", "--rm", "--network", "none", "hostile"];
    let text = checked(&mut docker(&[&run[..], &["/calls"]].concat()))
        + &checked(&mut docker(&[&run[..], &["/probe"], &TRIES].concat()));
    let theirs = answers(text.lines().map(str::to_owned));

    let mut open = Vec::new();
    for (tried, their) in &theirs {
        let our = ours.get(tried).map_or("nothing", String::as_str);
        println!("{tried:34} Docker {their:10} here {our}");
        if their != "ok" && our == "ok" && !DIFFERENCES.contains(&tried.as_str()) {
            open.push(tried);
        }
    }
    assert_eq!(
        theirs.keys().collect::<Vec<_>>(),
        ours.keys().collect::<Vec<_>>()
    );
    assert!(theirs.len() > 40, "{theirs:?}");
    assert!(open.is_empty(), "closed in Docker and open here: {open:?}");
}
