//! A status watch: its output into a pipe, and its end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::strike::signal;
use crate::support::Project;

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

fn project(name: &str) -> Project {
    Project::with_service(&format!(
        "stack = \"{name}\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n"
    ))
}

/// The lines of a program's output, as they arrive.
fn lines(child: &mut Child) -> Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[test]
fn watch_prints_json_lines_until_the_stack_ends() {
    let project = project("watch-json");
    project.landfall(&["deploy"]).ended_with(0);
    let mut watching = project.spawn(&["status", "--watch", "--json"]);
    let lines = lines(&mut watching);
    let next = || -> Value {
        let line = lines.recv_timeout(WAIT_TIMEOUT).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let first = next();
    assert_eq!(
        (&first["result"], &first["healthy"]),
        (&"status".into(), &true.into())
    );
    let mut last = first["status"].clone();
    let targets = &last["listeners"][0]["rules"][0]["action"]["forward"]["targets"];
    for target in targets.as_array().unwrap() {
        assert_eq!(target["version"], 1, "{target}");
        assert!(target["since"].as_str().unwrap().ends_with('Z'), "{target}");
    }
    project.landfall(&["scale", "web=3"]).ended_with(0);
    loop {
        let status = next()["status"].clone();
        assert_ne!(status, last, "a line is a change");
        last = status;
        let group = &last["groups"][0];
        if group["instances"].as_array().unwrap().len() == 3 {
            assert_eq!(group["desired"], 3);
            assert_eq!(group["last_scaling"]["why"], "from 2 to 3: asked for");
            break;
        }
    }
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    while last["resources"] != 0 {
        last = next()["status"].clone();
    }
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    project.nothing_is_left();
}

#[test]
fn watch_ends_when_interrupted() {
    let project = project("watch-ends");
    project
        .landfall(&["status", "--watch"])
        .ended_with(1)
        .saying(&["there is no stack watch-ends"]);
    project.landfall(&["deploy"]).ended_with(0);
    let mut watching = project.spawn(&["status", "--watch"]);
    let lines = lines(&mut watching);
    assert!(
        lines
            .recv_timeout(WAIT_TIMEOUT)
            .unwrap()
            .starts_with("watch-ends  healthy")
    );
    signal(&watching, "INT");
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    let mut stderr = watching.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    // No change, so there was one block.
    let rest: Vec<String> = lines.iter().collect();
    assert!(
        rest.iter().all(|line| !line.starts_with("watch-ends")),
        "{rest:#?}"
    );
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
