//! Instances of an old version, where a provider does not replace them by itself.

use std::time::Duration;

use landfall_lb::HealthReason;
use landfall_pipeline::{Failure, PostFailureState, RolledBackService, Stage, deploy};
use landfall_provider::{Error, ErrorKind, Probe};
use tokio::time::Instant;

use crate::fake::{App, Fake, How, Rollouts, Seen, healthy, seen};

/// A stack that is up, whose template has got a second version.
async fn outdated(rollouts: Rollouts) -> (Fake, App) {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert_eq!(cloud.rollouts.lock().unwrap().asked, [0; 0]);
    *cloud.rollouts.lock().unwrap() = Rollouts {
        newest: Some(2),
        ..rollouts
    };
    cloud.now(healthy);
    app.events.lock().unwrap().clear();
    (cloud, app)
}

#[tokio::test(start_paused = true)]
async fn a_deploy_goes_on_with_what_an_interrupted_one_has_not_begun() {
    let pending = |why: &str| Probe::Pending(why.to_owned());
    let (cloud, app) = outdated(Rollouts {
        course: [pending("0 % done"), pending("50 % done")].into(),
        ..Rollouts::default()
    })
    .await;
    let deployed = deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(deployed.changes.create.is_empty() && deployed.changes.update.is_empty());
    assert_eq!(deployed.changes.rollouts.len(), 1);
    assert_eq!(cloud.rollouts.lock().unwrap().asked, [2]);
    assert_eq!(
        app.reported("target-group/web"),
        ["waiting for", "0 % done", "50 % done", "done"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_to_end_before_a_rollout_begins_is_waited_for() {
    let busy = || Error::new(ErrorKind::InUse, "another one is under way");
    let (cloud, app) = outdated(Rollouts {
        refusals: [busy(), busy()].into(),
        ..Rollouts::default()
    })
    .await;
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert_eq!(cloud.rollouts.lock().unwrap().asked, [2, 2, 2]);
    assert_eq!(
        app.reported("target-group/web"),
        ["waiting for", "another one is under way", "done"]
    );
}

#[tokio::test(start_paused = true)]
async fn rollout_given_up_by_the_provider_is_a_failure() {
    let (cloud, app) = outdated(Rollouts {
        course: [Probe::Failed("the version before is back".to_owned())].into(),
        ..Rollouts::default()
    })
    .await;
    let there = cloud.held();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Health);
    assert_eq!(
        failure.message,
        "the new version of the service web failed: the version before is back"
    );
    assert_eq!(cloud.held(), there);
    assert_eq!(cloud.rollouts.lock().unwrap().taken_back, [""; 0]);
    went_back(&failure);
}

#[track_caller]
fn went_back(failure: &Failure) {
    let services = vec![RolledBackService {
        service: "web".parse().unwrap(),
        from: 2,
        to: 1,
    }];
    assert_eq!(
        failure.remains,
        PostFailureState::RolledBackServices { services }
    );
    assert_eq!(failure.errors.len(), 0, "{:?}", failure.errors);
}

/// Two of version 1 that serve, and new ones that do not.
fn beside(new: Vec<Seen>) -> Vec<Seen> {
    let mut all = healthy(Duration::ZERO);
    all.extend(new);
    all
}

/// A rollout that comes to nothing by itself, and goes back when it is asked to.
fn stuck() -> Rollouts {
    Rollouts {
        course: vec![Probe::Pending("0 of 2 are healthy".to_owned()); 5000].into(),
        way_back: [
            Probe::Ending("2 of version 2 left".to_owned()),
            Probe::Failed("version 1 is back".to_owned()),
        ]
        .into(),
        ..Rollouts::default()
    }
}

#[tokio::test(start_paused = true)]
async fn late_release_is_rolled_back() {
    let (cloud, app) = outdated(stuck()).await;
    cloud.now(|_| {
        let sick = How::UnhealthyTarget(
            HealthReason::ResponseCodeMismatch,
            "status 500 instead of 200",
        );
        beside(vec![seen("i-3", 2, sick), seen("i-4", 2, sick)])
    });
    let began = Instant::now();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert!((300..310).contains(&began.elapsed().as_secs()));
    assert_eq!(failure.stage, Stage::Health);
    assert_eq!(
        failure.message,
        "the service web did not become healthy within 300 s: GET / answers with status 500 instead of 200 \
         (0 of 2 targets are healthy)"
    );
    let ids: Vec<&str> = failure
        .targets
        .iter()
        .map(|sick| sick.id.as_str())
        .collect();
    assert_eq!(ids, ["i-3", "i-4"]);
    assert!(failure.targets[0].seen.as_deref().unwrap().contains("500"));
    assert_eq!(failure.output, ["i-3: starting", "i-3: no database"]);
    went_back(&failure);
    let taken_back = cloud.rollouts.lock().unwrap().taken_back.clone();
    let why = "Target.ResponseCodeMismatch";
    assert_eq!(taken_back, [format!("{}; {why}", failure.message)]);
    assert_eq!(
        app.reported("autoscaling-group/web"),
        ["waiting for", "2 of version 2 left", "done"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_instances_end_at_once_is_taken_back_at_once() {
    let (cloud, app) = outdated(stuck()).await;
    cloud.now(|since| {
        let ended = How::Ended("exited with code 3");
        let new = ["i-3", "i-4", "i-5"].map(|id| seen(id, 2, ended));
        beside(match since.as_secs() {
            0 => Vec::new(),
            _ => new.to_vec(),
        })
    });
    let began = Instant::now();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(
        failure.message,
        "the service web does not start: exited with code 3 (0 of 2 targets are healthy)"
    );
    assert_eq!(
        failure.targets[0].seen.as_deref(),
        Some("exited with code 3")
    );
    went_back(&failure);
}

#[tokio::test(start_paused = true)]
async fn old_instances_may_finish_what_they_have_begun() {
    let mut course = vec![Probe::Pending("2 of version 1 left".to_owned()); 1290];
    course.push(Probe::Usable(()));
    let (cloud, app) = outdated(Rollouts {
        course: course.into(),
        ..Rollouts::default()
    })
    .await;
    cloud.now(|since| {
        let new = vec![seen("i-3", 2, How::Healthy), seen("i-4", 2, How::Healthy)];
        match since.as_secs() {
            0..310 => beside(new),
            _ => new,
        }
    });
    let began = Instant::now();
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(began.elapsed().as_secs() > 300, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn failed_rollback_is_reported_in_full() {
    let (cloud, app) = outdated(Rollouts {
        way_back: vec![Probe::Ending("1 of 2 are back".to_owned()); 5000].into(),
        ..stuck()
    })
    .await;
    let failure = deploy(
        &cloud,
        &app.config("health = { deadline = 60 }"),
        &app.options,
    )
    .await
    .unwrap_err();
    assert!(
        failure
            .message
            .starts_with("the service web did not become healthy within 60 s"),
        "{}",
        failure.message
    );
    let errors: Vec<String> = failure.errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "going back to the version before of autoscaling-group/web: \
             it was not back within 90 s: 1 of 2 are back"
        ]
    );
    assert!(matches!(
        failure.remains,
        PostFailureState::Resources { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_nobody_waits_for_any_more_is_the_providers() {
    let (cloud, app) = outdated(stuck()).await;
    let stop = app.options.apply.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        stop.cancel();
    });
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Interrupted);
    assert!(
        failure
            .hint
            .unwrap()
            .contains("is rolled back if the new version")
    );
    assert_eq!(cloud.rollouts.lock().unwrap().taken_back, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_release_was_made_from_is_noted() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let notes = cloud.rollouts.lock().unwrap().notes.clone();
    assert_eq!(notes.len(), 1);
    assert_eq!(
        (notes[0].who.as_str(), notes[0].back_to),
        ("ana@build-3", None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_may_not_be_begun_says_why() {
    let denied = Error::new(ErrorKind::Denied, "autoscaling:StartInstanceRefresh: no");
    let (cloud, app) = outdated(Rollouts {
        refusals: [denied].into(),
        ..Rollouts::default()
    })
    .await;
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.message, "cannot find out whether web is healthy");
    let errors: Vec<String> = failure.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["autoscaling:StartInstanceRefresh: no"]);
}
