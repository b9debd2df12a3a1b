//! Interruptions at any moment on the local provider.

use std::cell::{Cell, OnceCell};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use landfall_local::{Local, LocalOptions};
use landfall_pipeline::{Config, Options, PostFailureState, RequestTimeout, Stage};
use serde_json::{Value, json};

use crate::Ran;
use crate::strike::{self, Target};
use crate::support::{Project, get, wait_for};

/// A project whose cloud is on this machine.
struct Here {
    project: Project,
    file: String,
    /// The service's greeting.
    greeting: Cell<&'static str>,
    /// The plan of a complete stack: no changes, and the number of kept resources.
    whole: OnceCell<Value>,
}

impl Here {
    fn new(stack: &str) -> Self {
        let file = format!(
            "stack = \"{stack}\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n\
             env = {{ GREETING = \"hello\" }}\n"
        );
        Self {
            project: Project::with_service(&file),
            file,
            greeting: Cell::new("hello"),
            whole: OnceCell::new(),
        }
    }
}

impl Target for Here {
    fn command(&self, args: &[&str]) -> Command {
        self.project.command(args)
    }

    fn wants(&self, changed: bool) {
        let (port, greeting) = match changed {
            false => ("8000", "hello"),
            true => ("9000", "welcome"),
        };
        let file = self.file.replace("8000", port).replace("hello", greeting);
        self.project.write("landfall.toml", &file);
        self.greeting.set(greeting);
    }

    fn is_whole(&self, url: &str) {
        // As many requests as there are instances, and more.
        for _ in 0..6 {
            let (status, body) = get(url, "/").unwrap();
            let greeting = self.greeting.get();
            assert!(status == 200 && body.contains(greeting), "{status}: {body}");
        }
        let plan = self.landfall(&["plan", "--json"]).ended_with(0).json();
        let changes = &plan["changes"];
        for there in ["create", "update", "replace", "delete"] {
            assert_eq!(changes[there], json!([]), "{changes:#}");
        }
        assert_eq!(self.whole.get_or_init(|| changes.clone()), changes);
    }

    fn is_clean(&self) {
        self.project.nothing_is_left();
    }

    /// A lock ends with its process here.
    fn frees_the_lock(&self) {}

    fn takes_a_deploy_after_half_a_destroy(&self) -> bool {
        true
    }

    fn knows_versions(&self) -> bool {
        true
    }
}

#[test]
fn killed_deploy_is_continued_and_destroyed() {
    strike::a_deploy_that_is_killed_is_made_good(&Here::new("shop-kill"));
}

#[test]
fn killed_change_is_continued_or_reverted() {
    strike::a_change_that_is_killed_is_made_good(&Here::new("shop-change"), 10);
}

#[test]
fn a_destroy_that_is_killed_at_any_moment_is_continued() {
    strike::a_destroy_that_is_killed_is_continued(&Here::new("shop-fell"));
}

#[test]
fn interrupted_deploy_ends_in_time() {
    strike::an_interrupted_deploy_says_how_to_go_on(&Here::new("shop-stop"));
}

#[test]
fn interrupted_destroy_ends_in_time() {
    strike::an_interrupted_destroy_says_how_to_go_on(&Here::new("shop-halt"));
}

#[test]
fn a_second_interruption_ends_at_once() {
    let place = Here::new("shop-twice");
    // A command that ignores signals: an interrupted run would wait for it a while.
    let stubborn = "image = { before = \"trap '' INT TERM; touch begun; sleep 4\" }\n";
    let file = place.file.clone() + stubborn;
    place.project.write("landfall.toml", &file);
    let child = place.spawn(&["deploy"]);
    wait_for(&place.project.directory().join("begun"));
    let said = strike::ends_when_interrupted_twice(child);
    assert!(said.contains("interrupt again to stop at once"), "{said}");
    place.destroys();
}

/// A cloud whose processes are stopped, until this is dropped.
struct Stopped(Vec<String>);

impl Stopped {
    fn all_of(project: &Project) -> Self {
        let lines = project.processes();
        let pids = lines.iter().filter_map(|line| {
            let pid = line.split(' ').next()?.strip_prefix("/proc/")?;
            Some(pid.to_owned())
        });
        let stopped = Self(pids.collect());
        assert!(!stopped.0.is_empty());
        stopped.signal("STOP");
        stopped
    }

    fn signal(&self, name: &str) {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "for pid in \"$@\"; do kill -s \"$0\" \"$pid\"; done",
            name,
        ]);
        assert!(command.args(&self.0).status().unwrap().success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

/// Waits until a program listens for SIGINT, which is the second signal.
fn listens(child: &Child) {
    let status = format!("/proc/{}/status", child.id());
    let began = Instant::now();
    loop {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        if caught & 0b10 != 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_cloud_that_is_stopped_hangs_no_run() {
    let place = Here::new("shop-still");
    place.deploys();
    let stopped = Stopped::all_of(&place.project);
    for args in [
        &["deploy"][..],
        &["destroy", "--yes"],
        &["plan"],
        &["status"],
    ] {
        let child = place.spawn(args);
        listens(&child);
        let sent = Instant::now();
        strike::signal(&child, "INT");
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert!(
            sent.elapsed() < Duration::from_secs(10),
            "{:?}",
            sent.elapsed()
        );
        // The program may have noticed by itself before the signal.
        match ran.code {
            Some(1) => ran.saying(&["the local cloud does not answer: its processes"]),
            _ => ran
                .ended_with(130)
                .saying(&["interrupted before anything was changed"]),
        };
    }

    // No signal is sent.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let failure = runtime.block_on(async {
        let local = Local::open(LocalOptions {
            dir: Some(place.project.runtime_dir()),
            image_store: Some(place.project.runtime_dir().with_file_name("images")),
            ..LocalOptions::default()
        });
        let config = Config::load(&place.project.directory().join("landfall.toml")).unwrap();
        let options = Options {
            request_timeout: RequestTimeout(Duration::from_secs(1)),
            ..Options::default()
        };
        landfall_pipeline::deploy(&local.unwrap(), &config, &options)
            .await
            .unwrap_err()
    });
    assert_eq!(
        (failure.stage, &failure.remains),
        (Stage::Lock, &PostFailureState::Unchanged)
    );
    let reported = failure.errors[0].to_string();
    assert!(reported.contains("has not answered for 1 s"), "{reported}");

    // It continues.
    drop(stopped);
    place.deploys();
    place.destroys();
}
