//! Two runs on one stack: one at a time, and the other hears of whom it waits for.

use std::time::Duration;

use landfall_pipeline::{Options, PostFailureState, Stage, deploy, destroy};
use landfall_provider::{Attempt, Event, Holder, StackLock, StackName};
use tokio::time::Instant;

use crate::fake::{App, Fake, healthy};

fn name() -> StackName {
    StackName::new("digipay").unwrap()
}

/// Takes the stack's lock for somebody else.
async fn held(cloud: &Fake) -> landfall_provider::LockGuard {
    let bert = Holder::now("deploy", "bert@laptop");
    match cloud.lock(&name(), &bert).await.unwrap() {
        Attempt::Taken(guard) => guard,
        Attempt::Busy(holder) => panic!("{holder}"),
    }
}

#[tokio::test(start_paused = true)]
async fn two_deploys_at_once_are_one_deploy_and_one_refusal() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let config = app.config("");
    let (first, second) = tokio::join!(
        deploy(&cloud, &config, &app.options),
        deploy(&cloud, &config, &app.options),
    );
    first.unwrap();
    let failure = second.unwrap_err();
    assert_eq!(
        (failure.stage, &failure.remains),
        (Stage::Lock, &PostFailureState::Unchanged)
    );
    assert_eq!(failure.message, "cannot deploy digipay now");
    let why = failure.errors[0].to_string();
    let me = format!(
        "another run holds it: deploy by ana@build-3, process {}, since 2",
        std::process::id()
    );
    assert!(why.starts_with(&me), "{why}");
    let hint = failure.errors[0].hint_text().unwrap();
    assert!(hint.contains("--wait") && hint.contains("unlock"), "{hint}");
    // The lock ends with the run.
    deploy(&cloud, &config, &app.options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_says_for_whom_and_goes_on_when_the_other_is_done() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let guard = held(&cloud).await;
    let options = Options {
        wait: Some(Duration::from_secs(60)),
        ..app.options.clone()
    };
    let config = app.config("");
    let (deployed, ()) = tokio::join!(deploy(&cloud, &config, &options), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(cloud.effects(), Vec::<String>::new());
        guard.release().await.unwrap();
    });
    deployed.unwrap();
    let events = app.events.lock().unwrap();
    let notices: Vec<&String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Notice { text } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(notices.len(), 1, "told once: {notices:?}");
    assert!(
        notices[0].starts_with("waiting for another run: deploy by bert@laptop"),
        "{notices:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_has_an_end() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let _guard = held(&cloud).await;
    let options = Options {
        wait: Some(Duration::from_secs(30)),
        ..app.options.clone()
    };
    let began = Instant::now();
    let failure = destroy(&cloud, &name(), &options).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Lock);
    assert!(failure.errors[0].to_string().contains("bert@laptop"));
    assert!((30..31).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_can_be_stopped() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let _guard = held(&cloud).await;
    let options = Options {
        wait: Some(Duration::from_secs(600)),
        ..app.options.clone()
    };
    let config = app.config("");
    let (stopped, ()) = tokio::join!(deploy(&cloud, &config, &options), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        options.apply.stop.cancel();
    });
    let failure = stopped.unwrap_err();
    assert_eq!(
        (failure.stage, &failure.remains),
        (Stage::Interrupted, &PostFailureState::Unchanged)
    );
    assert_eq!(cloud.effects(), Vec::<String>::new());
}
