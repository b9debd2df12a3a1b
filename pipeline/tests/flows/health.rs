//! How a deploy waits for health, and what it says when there is none.

use std::time::Duration;

use landfall_lb::HealthReason;
use landfall_pipeline::{Failure, PostFailureState, Stage, deploy};
use landfall_provider::{ErrorKind, PollInterval, kind};
use landfall_testkit::sim::{Fault, Sim, Times, When};
use tokio::time::Instant;

use crate::fake::{App, Fake, How, Seen, healthy, seen};

const CHECKING: How = How::UnhealthyTarget(HealthReason::InitialHealthChecking, "");

fn after(seconds: u64, then: fn(Duration) -> Vec<Seen>) -> impl Fn(Duration) -> Vec<Seen> {
    move |since| match since < Duration::from_secs(seconds) {
        true => vec![seen("i-1", 1, How::Healthy), seen("i-2", 1, CHECKING)],
        false => then(since),
    }
}

/// A failure without the list of what was undone.
fn reported(failure: &Failure) -> serde_json::Value {
    let mut reported = serde_json::to_value(failure).unwrap();
    reported.as_object_mut().unwrap().remove("remains");
    reported
}

#[tokio::test(start_paused = true)]
async fn waits_for_all_desired_targets_with_progress() {
    let (cloud, app) = (Fake::new(after(7, healthy)), App::new());
    let began = Instant::now();
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(7));
    assert_eq!(
        app.reported("target-group/web").split_off(3),
        [
            "waiting for",
            "1 of 2 targets are healthy, 1 Elb.InitialHealthChecking",
            "done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn unhealthy_service_fails_by_its_deadline_and_is_undone() {
    let cloud = Fake::new(|_| {
        vec![
            seen(
                "i-1",
                1,
                How::UnhealthyTarget(
                    HealthReason::ResponseCodeMismatch,
                    "status 404 instead of 200",
                ),
            ),
            seen(
                "i-2",
                1,
                How::UnhealthyTarget(HealthReason::FailedHealthChecks, "connection refused"),
            ),
        ]
    });
    let app = App::new();
    let config = app.config("health = { path = '/healthz', deadline = 120 }");
    let began = Instant::now();
    let failure = deploy(&cloud, &config, &app.options).await.unwrap_err();
    let took = began.elapsed().as_secs();
    assert!((120..160).contains(&took), "{took}");
    let PostFailureState::RolledBack { deleted } = &failure.remains else {
        panic!("{:?}", failure.remains);
    };
    assert!(deleted.len() > 20);
    assert!(cloud.held().is_empty(), "{:?}", cloud.held());
    insta::assert_json_snapshot!(reported(&failure));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_exits_at_once_is_given_up_at_once() {
    let cloud = Fake::new(|since| {
        let ended = How::Ended("exited with code 1");
        let count = 1 + since.as_secs() as usize;
        ["i-1", "i-2", "i-3", "i-4"]
            .into_iter()
            .take(count)
            .map(|id| seen(id, 1, ended))
            .collect()
    });
    let app = App::new();
    let began = Instant::now();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(failure.stage, Stage::Health);
    assert!(cloud.held().is_empty(), "{:?}", cloud.held());
    assert!(matches!(
        failure.remains,
        PostFailureState::RolledBack { .. }
    ));
    insta::assert_json_snapshot!(reported(&failure));
}

#[tokio::test(start_paused = true)]
async fn the_group_itself_can_say_that_there_is_no_hope() {
    let why = "3 instances in a row never became healthy; the last one exited with code 1";
    let sim = Sim::new().fails("autoscaling-group/web".parse().unwrap(), why);
    let cloud = Fake::on(sim, |_| {
        vec![seen("i-3", 1, How::Ended("exited with code 1"))]
    });
    let app = App::new();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Health);
    assert_eq!(
        failure.message,
        "the service web does not start: exited with code 1 (0 of 2 targets are healthy)"
    );
    assert!(failure.errors.is_empty(), "{:?}", failure.errors);
    assert_eq!(
        failure.targets[0].seen.as_deref(),
        Some("exited with code 1")
    );
    assert_eq!(failure.output, ["i-3: starting", "i-3: no database"]);
    assert!(cloud.held().is_empty(), "{:?}", cloud.held());
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_the_wait_for_a_group() {
    let times = Times {
        create: Duration::from_secs(5000).into(),
        ..Times::default()
    };
    let sim = Sim::new().times(kind::AUTOSCALING_GROUP, times);
    let cloud = Fake::on(sim, |_| {
        vec![seen(
            "i-1",
            1,
            How::UnhealthyTarget(HealthReason::Timeout, "no answer within 5 s"),
        )]
    });
    let mut app = App::new();
    app.options.keep_failed = true;
    let began = Instant::now();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    let took = began.elapsed().as_secs();
    assert!((300..330).contains(&took), "{took}");
    assert_eq!(failure.stage, Stage::Health);
    assert_eq!(
        failure.message,
        "the service web did not become healthy within 300 s: no answer to GET / on port 8000 within 5 s \
         (0 of 2 targets are healthy)"
    );
    assert!(
        failure.targets[0]
            .advice
            .as_deref()
            .unwrap()
            .contains("landfall explain --live lb web")
    );
}

#[tokio::test(start_paused = true)]
async fn failed_group_keeps_the_others_deadline() {
    let times = Times {
        create: Duration::from_secs(5000).into(),
        ..Times::default()
    };
    let sim = Sim::new().times(kind::AUTOSCALING_GROUP, times);
    sim.fault(
        When::verb("create").kind(kind::AUTOSCALING_GROUP).times(1),
        Fault::Refuse(ErrorKind::Denied),
    );
    let cloud = Fake::on(sim, |_| vec![seen("i-1", 1, How::Healthy)]);
    let mut app = App::new();
    app.options.keep_failed = true;
    let config = app.config("health = { deadline = 100 }\n[service.api]\nport = 9000\nroute = '/api/*'\nhealth = { deadline = 200 }");
    let began = Instant::now();
    let failure = deploy(&cloud, &config, &app.options).await.unwrap_err();
    let took = began.elapsed().as_secs();
    assert!((100..230).contains(&took), "{took}");
    assert_eq!(failure.stage, Stage::Health);
    // Which of the two was refused is chance; the other one is late by its own deadline.
    let refused = failure.errors[0].to_string();
    let (late, deadline) = match refused.contains("autoscaling-group/api") {
        true => ("web", 100),
        false => ("api", 200),
    };
    let reported = format!("the service {late} did not become healthy within {deadline} s");
    assert!(
        failure.message.starts_with(&reported),
        "{}",
        failure.message
    );
}

#[tokio::test(start_paused = true)]
async fn change_is_done_when_the_new_version_serves() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    cloud.now(|since| match since.as_secs() {
        0..5 => healthy(since),
        5..10 => vec![
            seen("i-1", 1, How::Healthy),
            seen("i-2", 1, How::Healthy),
            seen("i-3", 2, How::Healthy),
            seen("i-4", 2, CHECKING),
        ],
        10..15 => vec![
            seen("i-2", 1, How::Healthy),
            seen("i-3", 2, How::Healthy),
            seen("i-4", 2, How::Healthy),
        ],
        _ => vec![seen("i-3", 2, How::Healthy), seen("i-4", 2, How::Healthy)],
    });
    let began = Instant::now();
    let deployed = deploy(&cloud, &app.config("env = { LOG = 'debug' }"), &app.options)
        .await
        .unwrap();
    assert_eq!(
        deployed.changes.update,
        ["launch-template/web".parse().unwrap()]
    );
    assert!(
        began.elapsed() >= Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    let ids: Vec<_> = deployed
        .targets
        .iter()
        .map(|target| target.id.as_str())
        .collect();
    assert_eq!(ids, ["i-3", "i-4"]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_later_than_the_first_deploy_leaves_what_runs() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let there = cloud.held();
    cloud.now(|since| {
        let sick = How::UnhealthyTarget(HealthReason::Timeout, "no answer within 5 s");
        let mut seen = vec![
            seen("i-1", 1, How::Healthy),
            seen("i-2", 1, How::Healthy),
            seen("i-3", 2, sick),
        ];
        if since.is_zero() {
            seen.pop();
        }
        seen
    });
    let failure = deploy(&cloud, &app.config("env = { LOG = 'debug' }"), &app.options)
        .await
        .unwrap_err();
    assert_eq!(
        failure.message,
        "the service web did not become healthy within 300 s: no answer to GET / on port 8000 within 5 s \
         (0 of 2 targets are healthy)"
    );
    let PostFailureState::Resources { keys, .. } = &failure.remains else {
        panic!("{:?}", failure.remains);
    };
    assert_eq!(keys.len() + 1, there.len());
    assert_eq!(cloud.held(), there);
}

#[tokio::test(start_paused = true)]
async fn instances_that_ended_before_this_run_say_nothing_about_it() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    // Nothing has changed but the world around: what failed an hour ago now comes up.
    cloud.now(|since| {
        let ended = ["i-1", "i-2", "i-3"].map(|id| seen(id, 1, How::Ended("exited with code 1")));
        let coming = match since.as_secs() {
            0..3 => CHECKING,
            _ => How::Healthy,
        };
        ended
            .into_iter()
            .chain(["i-8", "i-9"].map(|id| seen(id, 1, coming)))
            .collect()
    });
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_interrupted_leaves_everything() {
    let (cloud, mut app) = (Fake::new(after(1000, healthy)), App::new());
    app.options.apply.poll_interval = PollInterval::default();
    let stop = app.options.apply.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        stop.cancel();
    });
    let began = Instant::now();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Interrupted);
    assert_eq!(
        failure.message,
        "interrupted while web was becoming healthy"
    );
    assert!(
        began.elapsed() < Duration::from_secs(62),
        "{:?}",
        began.elapsed()
    );
    assert!(
        matches!(&failure.remains, PostFailureState::Resources { keys, .. } if keys.len() > 20)
    );
}
