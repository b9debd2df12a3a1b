//! Having services have another number of instances than their file counts for.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_pipeline::{Stage, deploy, plan, scale};
use landfall_provider::{Holder, ResourceName, StackLock as _, StackName};

use crate::fake::{App, Fake, How, Seen, healthy, seen};

fn stack() -> StackName {
    StackName::new("digipay").unwrap()
}

fn counts(counts: &[(&str, u32)]) -> BTreeMap<ResourceName, u32> {
    let counts = counts.iter();
    counts
        .map(|(service, number)| (service.parse().unwrap(), *number))
        .collect()
}

/// So many healthy instances.
fn running(count: usize) -> Vec<Seen> {
    of_version(1, count)
}

fn of_version(version: u32, count: usize) -> Vec<Seen> {
    let ids = ["i-1", "i-2", "i-3", "i-4"];
    ids[..count]
        .iter()
        .map(|id| seen(id, version, How::Healthy))
        .collect()
}

async fn deployed() -> (Fake, App) {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    app.events.lock().unwrap().clear();
    (cloud, app)
}

#[tokio::test(start_paused = true)]
async fn waits_for_exactly_the_requested_number() {
    let (cloud, app) = deployed().await;
    cloud.now(|since| running(if since < Duration::from_secs(5) { 2 } else { 3 }));
    let scaled = scale(&cloud, &stack(), &counts(&[("web", 3)]), &app.options)
        .await
        .unwrap()
        .unwrap();
    let web = &scaled.services[0];
    assert_eq!(
        (web.before, web.capacity.desired, web.targets.len()),
        (2, 3, 3)
    );
    assert_eq!(
        app.reported("target-group/web"),
        ["waiting for", "2 of 3 targets are healthy", "done"]
    );

    app.events.lock().unwrap().clear();
    cloud.now(|since| running(if since < Duration::from_secs(5) { 3 } else { 1 }));
    scale(&cloud, &stack(), &counts(&[("web", 1)]), &app.options)
        .await
        .unwrap();
    assert_eq!(
        app.reported("target-group/web"),
        [
            "waiting for",
            "3 of 1 targets are healthy, 2 more than that still run",
            "done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn scaled_number_is_no_change_to_the_plan() {
    let (cloud, app) = deployed().await;
    cloud.now(|_| running(3));
    scale(&cloud, &stack(), &counts(&[("web", 3)]), &app.options)
        .await
        .unwrap();
    let planned = plan(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(planned.plan.is_empty());
    cloud.now(|since| match since.is_zero() {
        true => running(3),
        false => of_version(2, 2),
    });
    let config = app.config("health = { deadline = 60 }\nenv = { A = 'b' }");
    let failure = deploy(&cloud, &config, &app.options).await.unwrap_err();
    assert!(
        failure.message.contains("2 of 3 targets are healthy"),
        "{}",
        failure.message
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_is_refused_at_once_and_changes_nothing() {
    let (cloud, app) = deployed().await;
    let asked = [("api", 1), ("web", 5)];
    let failure = scale(&cloud, &stack(), &counts(&asked), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Scale);
    assert_eq!(
        failure.message,
        "digipay has no service `api`; web has between 1 and 4 instances, and not 5"
    );
    let hint = failure.hint.unwrap();
    assert!(
        hint.contains("its only service is `web`")
            && hint.contains("`min` and `max` under [service.web.scale]"),
        "{hint}"
    );
    assert!(cloud.scaled.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_stack_there_is_nothing_to_scale() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let scaled = scale(&cloud, &stack(), &counts(&[("web", 2)]), &app.options).await;
    assert_eq!(scaled.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn unhealthy_instances_fail_the_scaling() {
    let (cloud, app) = deployed().await;
    cloud.now(|_| {
        let mut all = running(2);
        all.push(seen("i-3", 1, How::Ended("exited with code 3")));
        all
    });
    let failure = scale(&cloud, &stack(), &counts(&[("web", 3)]), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Health);
    assert_eq!(
        failure.message,
        "the service web did not become healthy within 300 s: exited with code 3 (2 of 3 targets are healthy)"
    );
}

#[tokio::test(start_paused = true)]
async fn another_run_on_the_stack_is_not_disturbed() {
    let (cloud, app) = deployed().await;
    let holder = Holder::now("deploy", "ana@build-3");
    let _held = cloud.lock(&stack(), &holder).await.unwrap();
    let failure = scale(&cloud, &stack(), &counts(&[("web", 3)]), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Lock);
    assert!(cloud.scaled.lock().unwrap().is_empty());
}
