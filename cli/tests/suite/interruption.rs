//! Struck at any moment on the local provider.

use std::cell::{Cell, OnceCell};
use std::process::Command;

use serde_json::{Value, json};

use crate::strike::{self, Place};
use crate::support::{Project, get, wait_for};

/// A project whose cloud is on this machine.
struct Here {
    project: Project,
    file: String,
    /// What the service greets with.
    greeting: Cell<&'static str>,
    /// What there is to do about a whole stack: nothing, and how much is kept.
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

impl Place for Here {
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
        // As many times as there are instances, and more.
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
}

#[test]
fn a_deploy_that_is_killed_at_any_moment_is_continued_by_deploy_and_ended_by_destroy() {
    strike::a_deploy_that_is_killed_is_made_good(&Here::new("shop-kill"));
}

#[test]
fn a_change_that_is_killed_at_any_moment_is_continued_or_taken_back_by_deploy() {
    strike::a_change_that_is_killed_is_made_good(&Here::new("shop-change"), 10);
}

#[test]
fn a_destroy_that_is_killed_at_any_moment_is_continued() {
    strike::a_destroy_that_is_killed_is_continued(&Here::new("shop-fell"));
}

#[test]
fn an_interrupted_deploy_comes_to_an_end_in_time_and_says_how_to_go_on() {
    strike::an_interrupted_deploy_says_how_to_go_on(&Here::new("shop-stop"));
}

#[test]
fn an_interrupted_destroy_comes_to_an_end_in_time_and_says_how_to_go_on() {
    strike::an_interrupted_destroy_says_how_to_go_on(&Here::new("shop-halt"));
}

#[test]
fn a_second_interruption_ends_at_once() {
    let place = Here::new("shop-twice");
    // A command that does not listen either: an interrupted run would wait for it a while.
    let stubborn = "image = { before = \"trap '' INT TERM; touch begun; sleep 4\" }\n";
    let file = place.file.clone() + stubborn;
    place.project.write("landfall.toml", &file);
    let child = place.spawn(&["deploy"]);
    wait_for(&place.project.directory().join("begun"));
    let said = strike::ends_when_interrupted_twice(child);
    assert!(said.contains("once more to end at once"), "{said}");
    place.destroys();
}
