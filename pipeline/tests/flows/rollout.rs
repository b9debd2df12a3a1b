//! Instances of an old version, where a provider does not replace them by itself.

use landfall_pipeline::{Stage, deploy};
use landfall_provider::{Error, ErrorKind, Probe};

use crate::fake::{App, Fake, Rollouts, healthy};

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
    assert!(deployed.changes.is_empty());
    assert_eq!(cloud.rollouts.lock().unwrap().asked, [2]);
    assert_eq!(
        app.told("target-group/web"),
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
        app.told("target-group/web"),
        ["waiting for", "another one is under way", "done"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_the_provider_gives_up_is_a_failure_and_takes_nothing_along() {
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
        "the new version of the service web was given up: the version before is back"
    );
    assert_eq!(cloud.held(), there);
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
