//! Releases under load: rollouts and rollbacks without a failed request.
//!
//! The load is constant and open: 300 requests a second, half of them on persistent connections,
//! half on a new one each. There are no retries, and every answer except 200 counts. A busy machine
//! sends fewer; the number is printed.

#![expect(clippy::print_stderr, reason = "the counts are for the one who ran it")]

use std::path::Path;

use landfall_testkit::load::{Counts, Load};
use serde_json::Value;

use crate::support::{Project, Ran, get};

const PER_SECOND: u32 = 300;

/// A lower rate would show nothing.
const LEAST: f64 = 50.0;

/// A stack whose service returns its greeting, and whose environment controls its behaviour.
struct Shop {
    project: Project,
    name: &'static str,
}

impl Shop {
    fn new(name: &'static str) -> Self {
        let project = Project::new("");
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        landfall_testkit::service::context(&project.directory(), cache).unwrap();
        project.write(".dockerignore", "*\n!service\n");
        Self { project, name }
    }

    fn file(&self, env: &str) {
        let text = format!(
            "stack = \"{}\"\n\n[service.web]\nport = 8000\nderegistration-delay = 2\nenv = {{ {env} }}\n\
             health = {{ path = \"/healthz\", interval = 5, timeout = 2, unhealthy-threshold = 2, deadline = 40 }}\n",
            self.name
        );
        self.project.write("landfall.toml", &text);
    }

    /// Deploys the first release and returns its address.
    fn open(&self) -> String {
        self.file("GREETING = \"one\"");
        let deployed = self.project.landfall(&["deploy"]).ended_with(0);
        deployed.stdout.trim_end().to_owned()
    }

    fn deploy(&self, env: &str) -> Ran {
        self.file(env);
        self.project.landfall(&["deploy"])
    }

    /// The number, the state and the restored release of every release.
    fn releases(&self) -> Vec<(u64, String, Option<u64>)> {
        let listed = self.project.landfall(&["releases", "--json"]).ended_with(0);
        let line = listed.json();
        let releases = line["services"][0]["releases"].as_array().unwrap().iter();
        releases
            .map(|one| {
                let state = one["state"].as_str().unwrap().to_owned();
                (
                    one["release"].as_u64().unwrap(),
                    state,
                    one["back_to"].as_u64(),
                )
            })
            .collect()
    }

    /// The greetings of eight requests in a row.
    fn greetings(&self, url: &str) -> Vec<String> {
        let mut greetings: Vec<String> = (0..8)
            .map(|_| {
                let (status, body) = get(url, "/whoami").unwrap();
                assert_eq!(status, 200);
                let said: Value = serde_json::from_str(&body).unwrap();
                said["greeting"].as_str().unwrap().to_owned()
            })
            .collect();
        greetings.sort();
        greetings.dedup();
        greetings
    }

    fn destroy(&self) {
        self.project.landfall(&["destroy", "--yes"]).ended_with(0);
        self.project.nothing_is_left();
    }
}

/// Runs `work` under load; fails the test if a request failed.
fn under_load<T>(what: &str, url: &str, work: impl FnOnce() -> T) -> T {
    let load = Load::start(url, "/whoami", PER_SECOND).unwrap();
    let done = work();
    let counts: Counts = load.finish().unwrap();
    eprintln!("{what}: {counts}");
    assert_eq!(counts.failed(), 0, "{what}: {counts}");
    assert!(counts.kept > 0 && counts.fresh > 0, "{what}: {counts}");
    assert!(counts.rate() >= LEAST, "{what}: {counts}");
    done
}

fn states(releases: &[(u64, String, Option<u64>)]) -> Vec<(u64, &str)> {
    releases
        .iter()
        .map(|(number, state, _)| (*number, state.as_str()))
        .collect()
}

#[test]
fn a_release_and_a_rollback_without_a_failed_request() {
    let shop = Shop::new("load-roll");
    let url = shop.open();
    under_load("a release", &url, || {
        shop.deploy("GREETING = \"two\"").ended_with(0)
    });
    assert_eq!(shop.greetings(&url), ["two"]);
    assert_eq!(
        states(&shop.releases()),
        [(1, "superseded"), (2, "current")]
    );

    let back = under_load("a rollback", &url, || {
        shop.project.landfall(&["rollback"]).ended_with(0)
    });
    assert!(
        back.stdout
            .contains("web was rolled back from release 2 to 1, which serves as release 3"),
        "{back:#?}"
    );
    assert_eq!(shop.greetings(&url), ["one"]);
    let releases = shop.releases();
    assert_eq!(
        states(&releases),
        [(1, "superseded"), (2, "superseded"), (3, "current")]
    );
    assert_eq!(releases[2].2, Some(1));
    let table = shop.project.landfall(&["releases"]).ended_with(0).stdout;
    assert!(table.contains("rollback to 1"), "{table}");

    // The file has not changed.
    let plan = shop.project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("launch-template/web"), "{plan}");
    let same = shop.project.landfall(&["rollback", "3"]).ended_with(0);
    assert!(same.stdout.contains("release 3 of web serves"), "{same:#?}");
    shop.project
        .landfall(&["rollback", "web", "9"])
        .ended_with(2)
        .saying(&["web has no release 9", "there are 1, 2, 3"]);
    shop.project
        .landfall(&["rollback"])
        .ended_with(2)
        .saying(&["no earlier release"]);
    shop.project
        .landfall(&["releases", "api"])
        .ended_with(2)
        .saying(&["load-roll has no service api", "it has web"]);
    shop.destroy();
}

/// Deploys a broken release, and checks the result; returns the output.
fn a_bad_release(shop: &Shop, what: &str, env: &str) -> Ran {
    let url = shop.open();
    let failed = under_load(what, &url, || {
        shop.deploy(&format!("GREETING = \"two\", {env}"))
            .ended_with(1)
    });
    let failed = failed.saying(&["web was rolled back from release 2 to release 1, which serves"]);
    assert_eq!(shop.greetings(&url), ["one"]);
    assert_eq!(states(&shop.releases()), [(1, "current"), (2, "failed")]);
    // It is deployed again after the fix.
    under_load("the next release", &url, || {
        shop.deploy("GREETING = \"three\"").ended_with(0)
    });
    assert_eq!(shop.greetings(&url), ["three"]);
    shop.destroy();
    failed
}

#[test]
fn a_release_that_exits_at_once_goes_back_and_says_with_what() {
    let shop = Shop::new("load-exit");
    a_bad_release(&shop, "a service that exits at once", "FAIL = \"exit\"")
        .saying(&["exited with code 3", "cannot find my database, giving up"]);
}

#[test]
fn a_release_whose_health_path_gives_500_goes_back_and_says_so() {
    let shop = Shop::new("load-500");
    a_bad_release(&shop, "a health path that gives 500", "HEALTH = \"500\"").saying(&[
        "Target.ResponseCodeMismatch",
        "GET /healthz answers with status 500 instead of 200",
        "listening on port 8000",
    ]);
}

#[test]
fn release_on_a_wrong_port_is_rolled_back() {
    let shop = Shop::new("load-port");
    a_bad_release(&shop, "a service on the wrong port", "LISTEN = \"9000\"").saying(&[
        "Target.FailedHealthChecks",
        "it listens on port 9000 instead of 8000",
    ]);
}

#[test]
fn release_continues_after_its_run_is_killed() {
    let shop = Shop::new("load-kill");
    let url = shop.open();
    under_load("a release that nobody waits for", &url, || {
        shop.file("GREETING = \"two\", FAIL = \"exit\"");
        let mut run = shop.project.spawn(&["deploy"]);
        until(|| shop.releases().len() == 2);
        // It may have finished before it was killed: the result counts.
        let _ = run.kill();
        run.wait().unwrap();
        // A run that died before it started the rollout leaves that to the next one.
        if states(&shop.releases())[1].1 == "waiting" {
            return;
        }
        until(|| states(&shop.releases()) == [(1, "current"), (2, "failed")]);
    });
    assert_eq!(shop.greetings(&url), ["one"]);
    shop.deploy("GREETING = \"three\"").ended_with(0);
    assert_eq!(shop.greetings(&url), ["three"]);
    shop.destroy();
}

#[test]
fn a_release_during_a_release_is_refused_and_says_whose_that_is() {
    let shop = Shop::new("load-twice");
    shop.open();
    // A slow one: it does not become healthy.
    shop.file("GREETING = \"two\", HEALTH = \"500\"");
    let mut run = shop.project.spawn(&["deploy"]);
    until(|| shop.releases().len() == 2);
    for command in ["deploy", "rollback"] {
        shop.project
            .landfall(&[command])
            .ended_with(1)
            .saying(&["another run holds it: deploy by"]);
    }
    run.kill().unwrap();
    run.wait().unwrap();
    // The killed run's rollout is replaced by the next one.
    shop.deploy("GREETING = \"three\"").ended_with(0);
    assert_eq!(states(&shop.releases()).last(), Some(&(3, "current")));
    shop.destroy();
}

fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so() {
        assert!(
            std::time::Instant::now() < deadline,
            "it does not come to that"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
