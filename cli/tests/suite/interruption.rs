//! Struck at any moment on the local provider.

use std::process::Command;
use std::time::Duration;

use crate::strike::{self, Place};
use crate::support::{Project, get, wait_for};

/// A project whose cloud is on this machine.
struct Here(Project);

impl Here {
    fn new(stack: &str) -> Self {
        let file = format!(
            "stack = \"{stack}\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n"
        );
        Self(Project::with_service(&file))
    }
}

impl Place for Here {
    fn command(&self, args: &[&str]) -> Command {
        self.0.command(args)
    }

    fn is_whole(&self, url: &str) {
        assert_eq!(get(url, "/").unwrap().0, 200);
    }

    fn is_clean(&self) {
        self.0.nothing_is_left();
    }

    /// A lock ends with its process here.
    fn frees_the_lock(&self) {}
}

#[test]
fn a_deploy_that_is_killed_at_any_moment_is_continued_by_deploy_and_ended_by_destroy() {
    strike::a_deploy_that_is_killed_is_made_good(&Here::new("shop-kill"));
}

#[test]
fn a_destroy_that_is_killed_at_any_moment_is_continued() {
    strike::a_destroy_that_is_killed_is_continued(
        &Here::new("shop-fell"),
        Duration::from_millis(500),
    );
}

#[test]
fn an_interrupted_deploy_comes_to_an_end_in_time_and_says_how_to_go_on() {
    strike::an_interrupted_deploy_says_how_to_go_on(&Here::new("shop-stop"));
}

#[test]
fn a_second_interruption_ends_at_once() {
    let place = Here::new("shop-twice");
    // A command that does not listen either: an interrupted run would wait for it a while.
    let file = std::fs::read_to_string(place.0.directory().join("landfall.toml")).unwrap();
    let stubborn = "image = { before = \"trap '' INT TERM; touch begun; sleep 4\" }\n";
    place.0.write("landfall.toml", &(file + stubborn));
    let child = place.spawn(&["deploy"]);
    wait_for(&place.0.directory().join("begun"));
    let said = strike::ends_when_interrupted_twice(child);
    assert!(said.contains("once more to end at once"), "{said}");
    place.destroys();
}
