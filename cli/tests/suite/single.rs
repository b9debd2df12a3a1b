//! A single instance with its own address: it answers, is restarted, stopped, changed, and
//! converted to a balanced stack.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Project, Ran, get, get_within};

const FILE: &str = "stack = \"one\"
mode = \"single\"

[service.web]
port = 8000
health = { timeout = 2 }
env = { GREETING = \"first\" }
";

/// Requests until this answer arrives: a container that exited needs a moment to restart.
#[track_caller]
fn answers(url: &str, greeting: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = get(url, "/");
        if let Ok((200, body)) = &answer
            && body.trim_end().ends_with(greeting)
        {
            return;
        }
        assert!(Instant::now() < deadline, "{url}: {answer:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn is_silent(url: &str) {
    let answer = get_within(url, "/", Duration::from_secs(5));
    assert!(!matches!(&answer, Ok((200, _))), "{answer:?}");
}

/// The instance in `status`.
#[track_caller]
fn instance(project: &Project) -> Value {
    let status = project.landfall(&["status", "--json"]).ended_with(0).json();
    let instances = status["status"]["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 1, "{status:#}");
    instances[0].clone()
}

fn url_of(ran: &Ran) -> String {
    ran.stdout.trim_end().to_owned()
}

#[test]
fn the_address_is_the_same_after_stop_and_start() {
    let project = Project::with_service(FILE);
    let deployed = project.landfall(&["deploy"]).ended_with(0);
    let url = url_of(&deployed);
    assert!(url.starts_with("http://one.localhost:"), "{url}");
    answers(&url, "first");
    let first = instance(&project);
    let address = first["standing"]["public_address"].as_str().unwrap();
    assert!(address.starts_with("203.0.113."), "{first:#}");
    let status = project.landfall(&["status"]).ended_with(0).stdout;
    let numeric = url.replace("one.localhost", "127.0.0.1");
    for part in [
        "one  healthy",
        "instance web :8000",
        url.as_str(),
        numeric.as_str(),
        address,
        "running",
    ] {
        assert!(status.contains(part), "{part} is missing in:\n{status}");
    }
    project
        .landfall(&["deploy"])
        .ended_with(0)
        .saying(&["nothing to do", "healthy"]);

    project
        .landfall(&["stop"])
        .ended_with(0)
        .saying(&["stopped i-", address]);
    is_silent(&url);
    let stopped = instance(&project);
    assert_eq!(stopped["standing"]["state"]["state"], "stopped");
    let status = project.landfall(&["status"]).ended_with(0).stdout;
    assert!(
        status.contains("not healthy") && status.contains("stopped"),
        "{status}"
    );
    project
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(0);
    project
        .landfall(&["stop"])
        .ended_with(0)
        .saying(&["nothing to do"]);

    let started = project.landfall(&["start"]).ended_with(0);
    assert_eq!(url_of(&started), url);
    answers(&url, "first");
    let second = instance(&project);
    assert_eq!(
        (&second["id"], &second["standing"]["public_address"]),
        (&first["id"], &first["standing"]["public_address"])
    );
    assert_eq!(
        second["standing"]["private_address"],
        first["standing"]["private_address"]
    );

    // A deploy starts it as well, and changes nothing else.
    project.landfall(&["stop"]).ended_with(0);
    let again = project.landfall(&["deploy"]).ended_with(0);
    assert_eq!(url_of(&again.saying(&["nothing to do"])), url);
    answers(&url, "first");

    // Another version is another instance with the same address, without a confirmation.
    project.write("landfall.toml", &FILE.replace("first", "second"));
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(
        plan.contains("-/+ instance/web") && !plan.contains("lost for good"),
        "{plan}"
    );
    let changed = project.landfall(&["deploy"]).ended_with(0);
    assert_eq!(url_of(&changed), url);
    answers(&url, "second");
    let third = instance(&project);
    assert_ne!(third["id"], first["id"]);
    assert_eq!(third["standing"]["public_address"], address);

    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn a_container_that_ends_is_started_again() {
    let project = Project::with_service(FILE);
    let url = url_of(&project.landfall(&["deploy"]).ended_with(0));
    let before = instance(&project);
    for _ in 0..3 {
        // This request makes the service exit.
        let _ = get_within(&url, "/end", Duration::from_secs(20));
        answers(&url, "first");
    }
    let after = instance(&project);
    assert_eq!(after["id"], before["id"]);
    let log = std::fs::read_to_string(project.runtime_dir().join("cloud.log")).unwrap();
    assert!(log.contains("its container exited with code 3"), "{log}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn a_service_that_does_not_answer_is_told_with_its_reason() {
    for (mode, reported) in [
        (
            "exit",
            &[
                "the service web does not stay up: it exited with code 7",
                "cannot go on: the test says so",
            ][..],
        ),
        (
            "sick",
            &[
                "did not answer within 3 s",
                "/ gives status 503 instead of 200",
            ],
        ),
        (
            "deaf",
            &["did not answer within 3 s", "another port than 8000"],
        ),
    ] {
        let file = FILE
            .replace("GREETING = \"first\"", &format!("MODE = \"{mode}\""))
            .replace("timeout = 2", "timeout = 2, deadline = 3");
        let project = Project::with_service(&file);
        project.landfall(&["deploy"]).ended_with(1).saying(reported);
        // It was the first deploy, and its resources are deleted.
        project.nothing_is_left();
    }
}

#[test]
fn only_those_who_are_allowed_reach_it() {
    let closed = format!("{FILE}\n[single]\nallow = [\"198.51.100.0/24\"]\n");
    let project = Project::with_service(&closed);
    // Its health is not visible from the loopback port's entry, and that is reported.
    let deployed = project.landfall(&["deploy"]).ended_with(0);
    let url = url_of(&deployed);
    deployed.saying(&["unused", "it runs; no response here"]);
    is_silent(&url);
    for (from, to, code) in [
        ("198.51.100.7", "web", 0),
        ("203.0.113.7", "web", 1),
        ("internet", "web:22", 1),
        ("web", "internet:443", 0),
    ] {
        project.landfall(&["explain", from, to]).ended_with(code);
        project
            .landfall(&["explain", "--live", from, to])
            .ended_with(code);
    }
    let open = closed.replace("198.51.100.0/24", "203.0.113.0/24");
    project.write("landfall.toml", &open);
    let deployed = project.landfall(&["deploy"]).ended_with(0);
    deployed.saying(&["healthy"]);
    answers(&url, "first");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn what_is_not_declared_is_refused_before_anything_is_made() {
    // A custom rule that opens another port violates an expectation.
    let rule = "[[network.security-group.web.rule]]\nfrom = \"0.0.0.0/0\"\nports = 1443\n";
    let project = Project::with_service(&format!("{FILE}\n{rule}"));
    project
        .landfall(&["deploy"])
        .ended_with(2)
        .saying(&["internet must not reach web/1"]);
    project.write(
        "landfall.toml",
        &format!("{FILE}\n[load-balancer]\nport = 80\n"),
    );
    project.landfall(&["plan"]).ended_with(2).saying(&[
        "landfall.toml:9:2",
        "`load-balancer` does not apply to a single instance",
    ]);
    project
        .landfall(&["stop"])
        .ended_with(2)
        .saying(&["has no single instance to stop"]);
    project.nothing_is_left();
}

#[test]
fn a_single_instance_grows_into_a_balanced_stack_and_back() {
    let project = Project::with_service(FILE);
    let single = url_of(&project.landfall(&["deploy"]).ended_with(0));
    answers(&single, "first");
    let balanced = FILE.replace("mode = \"single\"\n", "");
    project.write("landfall.toml", &balanced);
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    for part in [
        "+ autoscaling-group/web",
        "- instance/web",
        "- elastic-ip/web",
        "~ network-acl/public",
    ] {
        assert!(plan.contains(part), "{part} is missing in:\n{plan}");
    }
    assert!(!plan.contains("vpc/main"), "the VPC stays:\n{plan}");
    // The address is lost, which needs a confirmation.
    project
        .landfall(&["deploy"])
        .ended_with(2)
        .saying(&["elastic-ip/web", "address 203.0.113."]);
    let url = url_of(&project.landfall(&["deploy", "--yes"]).ended_with(0));
    answers(&url, "first");
    let status = project.landfall(&["status"]).ended_with(0).stdout;
    assert!(
        status.contains("target group web") && !status.contains("instance web"),
        "{status}"
    );
    project
        .landfall(&["stop"])
        .ended_with(2)
        .saying(&["mode = \"single\""]);

    project.write("landfall.toml", FILE);
    let url = url_of(&project.landfall(&["deploy", "--yes"]).ended_with(0));
    answers(&url, "first");
    project
        .landfall(&["deploy"])
        .ended_with(0)
        .saying(&["nothing to do"]);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
