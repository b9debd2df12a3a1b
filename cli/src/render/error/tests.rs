use std::io;

use landfall_lb::HealthReason;
use landfall_pipeline::{Config, Stage};
use landfall_provider::{ErrorKind, Key, Zone};

use super::*;

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn no_answer() -> Error {
    let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
    Error::new(ErrorKind::Unavailable, "the provider did not answer")
        .caused_by(refused)
        .details(["last \x1b[1mline".to_owned()])
        .left(Left::Unknown)
        .hint("is it running?\nlook with `landfall status`")
        .doing("creating", &key("nat-gateway/a"))
}

fn failed(stage: Stage, message: &str, remains: PostFailureState) -> Failure {
    Failure {
        stage,
        message: message.to_owned(),
        errors: Vec::new(),
        targets: Vec::new(),
        output: Vec::new(),
        broken: Vec::new(),
        losses: Vec::new(),
        details: Vec::new(),
        on_its_way: Vec::new(),
        not_started: Vec::new(),
        hint: None,
        remains,
        reported: None,
    }
}

#[test]
fn an_error_says_everything_that_it_knows_once() {
    insta::assert_snapshot!(plain(&error(&no_answer())), @r"
    error: creating nat-gateway/a: the provider did not answer
      because: connection refused
      │ last line
      left behind: unknown; the next run lists it
      hint: is it running?
            look with `landfall status`
    ");
}

#[test]
fn a_cause_that_the_message_ends_with_is_not_told_twice() {
    let error = Error::new(ErrorKind::Other, "cannot read: disk on fire")
        .caused_by(io::Error::other("disk on fire"));
    assert!(causes(&error).is_empty());
}

#[test]
fn the_faults_of_a_file_stand_under_their_lines() {
    let text = "stack = \"digipay\"\n\n[service.web]\nprot = 8000\n\n[network]\nzones = 7\n";
    let errors = Config::parse(text, "landfall.toml").unwrap_err();
    insta::assert_snapshot!(plain(&config(&errors)), @r"
    landfall.toml:4:1: error: unknown key `prot` in [service.web]
      4 │ prot = 8000
        │ ^^^^
    hint: did you mean `port`?
    landfall.toml:7:9: error: `zones` is 1 to 6, not 7
      7 │ zones = 7
        │         ^
    2 errors in landfall.toml; nothing was changed
    ");
}

#[test]
fn a_failed_deploy_says_what_failed_and_what_is_there() {
    let shown = failure(&Failure {
        errors: vec![no_answer()],
        ..failed(
            Stage::Apply,
            "2 of 36 resources could not be made",
            PostFailureState::Resources {
                keys: [
                    "vpc/main",
                    "subnet/public-a",
                    "subnet/public-b",
                    "subnet/private-a",
                    "subnet/private-b",
                ]
                .map(key)
                .to_vec(),
                next: "`deploy` continues from here".into(),
            },
        )
    });
    insta::assert_snapshot!(plain(&shown), @r"
    error: 2 of 36 resources could not be made
      creating nat-gateway/a: the provider did not answer
        because: connection refused
        │ last line
        left behind: unknown; the next run lists it
        hint: is it running?
              look with `landfall status`
    the stack has 5 resources:
      vpc/main  subnet/public-a  subnet/public-b  subnet/private-a
      subnet/private-b
    `deploy` continues from here
    ");
}

#[test]
fn interrupted_deploy_lists_leftovers_and_next_step() {
    let shown = failure(&Failure {
        on_its_way: vec![key("nat-gateway/a")],
        // A replaced resource has two steps.
        not_started: [
            "launch-template/web",
            "autoscaling-group/web",
            "autoscaling-group/web",
        ]
        .map(key)
        .to_vec(),
        ..failed(
            Stage::Interrupted,
            "interrupted: 2 of 6 steps are done",
            PostFailureState::Resources {
                keys: ["vpc/main", "elastic-ip/a", "nat-gateway/a"]
                    .map(key)
                    .to_vec(),
                next: "`deploy` continues from here, `destroy` deletes everything".into(),
            },
        )
    });
    insta::assert_snapshot!(plain(&shown), @r"
    error: interrupted: 2 of 6 steps are done
    the stack has 3 resources:
      vpc/main  elastic-ip/a  nat-gateway/a
    1 step goes on at the provider, and is no longer waited for:
      nat-gateway/a
    3 steps were not started:
      launch-template/web  autoscaling-group/web
    `deploy` continues from here, `destroy` deletes everything
    ");
}

#[test]
fn unhealthy_service_shows_targets_and_last_lines() {
    let sick = |id: &str, zone: &str| UnhealthyTarget {
        service: "web".into(),
        id: id.into(),
        zone: Zone::new(zone).ok(),
        state: "unhealthy".into(),
        reason: Some(HealthReason::ResponseCodeMismatch),
        seen: Some("status 404 instead of 200".into()),
        cause: Some("status 404 instead of 200".into()),
        advice: Some("let `path` name a page that the service has".into()),
    };
    let shown = failure(&Failure {
        targets: vec![sick("i-01", "local-1a"), sick("i-0234", "local-1b")],
        output: vec!["listening on 8000".into(), "GET /healthz 404".into()],
        ..failed(
            Stage::Health,
            "web did not become healthy within 20 s: status 404 instead of 200",
            PostFailureState::RolledBack {
                deleted: vec![key("vpc/main")],
            },
        )
    });
    insta::assert_snapshot!(plain(&shown), @r"
    error: web did not become healthy within 20 s: status 404 instead of 200
      web  i-01    local-1a  unhealthy  Target.ResponseCodeMismatch
      web  i-0234  local-1b  unhealthy  Target.ResponseCodeMismatch
      its last output:
      │ listening on 8000
      │ GET /healthz 404
    hint: let `path` name a page that the service has
    nothing is left: it was the stack's first deploy, and its resources were deleted again (1 resource)
    ");
}
