//! Services under constant load from clients without retries, while the number of instances
//! changes: by hand, by policies and by kills.

#![expect(
    clippy::print_stdout,
    reason = "figures for whoever reads the test's output"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use landfall_testkit::load::{Counts, Load};
use serde_json::Value;

use crate::support::Project;

/// The time limit of a wait on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(150);

/// Requests per second.
const MANY: u32 = 240;

fn file(name: &str, keys: &str) -> String {
    format!(
        "stack = \"{name}\"\n\n[service.web]\nport = 8000\n\
         health = {{ path = \"/healthz\", interval = 5, timeout = 4 }}\n{keys}\n"
    )
}

fn status(project: &Project) -> Value {
    let status = project.landfall(&["status", "--json"]).ended_with(0);
    status.json()["status"].take()
}

/// The group of a service.
fn group(status: &Value, service: &str) -> Value {
    let groups = status["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["name"] == service);
    group.unwrap().clone()
}

/// The ids of a group's running instances.
fn running(status: &Value, service: &str) -> BTreeSet<String> {
    let group = group(status, service);
    let instances = group["instances"].as_array().unwrap().iter();
    let running = instances.filter(|instance| instance["state"] == "running");
    running
        .map(|instance| instance["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until this many instances of the service run, healthy, and none is terminating.
#[track_caller]
fn until(project: &Project, service: &str, count: usize) -> Value {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    loop {
        let status = status(project);
        let group = group(&status, service);
        let instances = group["instances"].as_array().unwrap().iter();
        // An instance that exited by itself is listed for a while, and does not count.
        let instances = instances
            .filter(|instance| instance["state"].is_string())
            .count();
        let running = running(&status, service);
        let targets = status["listeners"][0]["rules"].as_array().unwrap().iter();
        let healthy = targets
            .flat_map(|rule| rule["action"]["forward"]["targets"].as_array().unwrap())
            .filter(|target| target["state"] == "healthy")
            .filter(|target| running.contains(target["id"].as_str().unwrap()));
        if running.len() == count && instances == count && healthy.count() == count {
            return status;
        }
        assert!(
            Instant::now() < deadline,
            "not {count} instances of {service}: {status:#}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[track_caller]
fn none_failed(what: &str, counts: &Counts) {
    println!("{what}: {counts}");
    assert!(
        counts.kept > 0 && counts.fresh > 0 && counts.failed() == 0,
        "{what}: {counts}"
    );
}

#[test]
fn scaling_out_and_in_under_load_fails_no_request() {
    // 240 a second are 14,400 a minute: the load for four instances.
    let scale = "scale = { min = 2, desired = 2, max = 4, requests = 4000 }";
    let project = Project::with_busy_service(&file("load-grows", scale));
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let load = Load::start(url.trim_end(), "/slow/3", MANY).unwrap();
    let began = Instant::now();
    let grown = until(&project, "web", 4);
    let grew = began.elapsed();
    let group = group(&grown, "web");
    assert_eq!(
        (&group["desired"], &group["desired_in_file"]),
        (&4.into(), &2.into())
    );
    let why = group["last_scaling"]["why"].as_str().unwrap();
    assert!(
        why.starts_with("from ") && why.contains("target 4000 (web-requests)"),
        "{why}"
    );
    let shown = project.landfall(&["status"]).ended_with(0).stdout;
    assert!(
        shown.contains("desired 4 (2 in the file), min 2, max 4") && shown.contains(why),
        "{shown}"
    );
    none_failed("growing", &load.finish().unwrap());
    println!("from 2 to 4 healthy instances after {grew:.1?} of load: {why}");

    // A few requests continue while the group shrinks.
    let load = Load::start(url.trim_end(), "/slow/3", 40).unwrap();
    let began = Instant::now();
    let small = until(&project, "web", 2);
    let shrank = began.elapsed();
    none_failed("shrinking", &load.finish().unwrap());
    println!(
        "back to 2 after {shrank:.1?}: {}",
        self::group(&small, "web")["last_scaling"]["why"]
    );
    let log = std::fs::read_to_string(project.runtime_dir().join("cloud.log")).unwrap();
    assert!(log.contains(&format!("scaled {why}")), "{log}");
    // Scaling by traffic is not a change in the plan.
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("Nothing to do"), "{plan}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn busy_processors_make_a_group_grow() {
    let scale = "scale = { min = 1, desired = 1, max = 2, cpu = 20 }";
    let project = Project::with_busy_service(&file("load-cpu", scale));
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    // Ten times 40 ms of a processor are 40 % of it.
    let load = Load::start(url.trim_end(), "/busy/40", 10).unwrap();
    let grown = until(&project, "web", 2);
    none_failed("busy", &load.finish().unwrap());
    let group = group(&grown, "web");
    let why = group["last_scaling"]["why"].as_str().unwrap();
    assert!(
        why.starts_with("from 1 to 2: ")
            && why.ends_with(" % CPU use per instance, target 20 % (web-cpu)"),
        "{why}"
    );
    println!("{why}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn scaling_by_hand_under_load_fails_no_request() {
    let project = Project::with_busy_service(&file("load-hand", ""));
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let load = Load::start(url.trim_end(), "/slow/5", MANY).unwrap();
    for count in [4, 1, 3, 2] {
        let desired = format!("web={count}");
        project.landfall(&["scale", &desired]).ended_with(0);
        // The removed ones are still draining.
        until(&project, "web", count);
        // The same duration of load for each size.
        std::thread::sleep(Duration::from_secs(2));
    }
    let counts = load.finish().unwrap();
    none_failed("scaled to 4, 1, 3 and 2", &counts);
    assert!(counts.rate() >= 200.0, "{counts}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn killed_instance_fails_only_requests_in_flight() {
    let project = Project::with_busy_service(&file("load-killed", ""));
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let before = running(&status(&project), "web");
    let load = Load::start(url.trim_end(), "/slow/10", MANY).unwrap();
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let victim = before.first().unwrap();
    kill(victim);
    let killed = began.elapsed();
    let after = running(&until(&project, "web", 2), "web");
    assert!(!after.contains(victim) && after.len() == 2, "{after:?}");
    let counts = load.finish().unwrap();
    println!("killed after {:.3} s: {counts}", killed.as_secs_f64());
    assert!(counts.rate() >= 200.0, "{counts}");
    // Each of the load's workers has one request in flight: no more than these can fail.
    assert!(counts.failed() <= 16, "{counts}");
    for failure in &counts.failures {
        let sent: f64 = failure
            .trim_start_matches("after ")
            .split(" s,")
            .next()
            .and_then(|sent| sent.trim().parse().ok())
            .unwrap();
        // All requests sent after the end was detected went to another instance.
        let distance = sent - killed.as_secs_f64();
        assert!((-0.5..0.25).contains(&distance), "{distance}: {counts}");
    }
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

/// Kills the service's process of an instance, found by its environment.
fn kill(instance: &str) {
    let wanted = format!("LANDFALL_INSTANCE_ID={instance}");
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes.find(|process| {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
    });
    let pid = found.unwrap().file_name().into_string().unwrap();
    // The shell's own kill: not every machine has the program.
    let mut kill = std::process::Command::new("sh");
    let sent = kill.args(["-c", "kill -s KILL \"$0\"", &pid]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn release_of_one_service_leaves_the_other_alone() {
    let file = |greeting: &str| {
        format!(
            "stack = \"load-two\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n\n\
             [service.api]\nport = 9000\nroute = \"/slow/*\"\nhealth = {{ path = \"/healthz\" }}\n\
             env = {{ GREETING = \"{greeting}\" }}\n"
        )
    };
    let project = Project::with_busy_service(&file("old"));
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let before = status(&project);
    let load = Load::start(url.trim_end(), "/whoami", MANY).unwrap();
    let released = Load::start(url.trim_end(), "/slow/4", 60).unwrap();
    project.write("landfall.toml", &file("new"));
    project.landfall(&["deploy"]).ended_with(0);
    until(&project, "api", 2);
    let after = status(&project);
    none_failed("the other service", &load.finish().unwrap());
    none_failed("the service that is released", &released.finish().unwrap());
    assert_eq!(running(&before, "web"), running(&after, "web"));
    let both: Vec<_> = [&before, &after]
        .map(|status| running(status, "api"))
        .into();
    assert!(both[0].is_disjoint(&both[1]), "{both:?}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
