//! A provider that does not answer: every question has an end, and a signal is heard meanwhile.

use std::time::Duration;

use landfall_pipeline::{Failure, PostFailureState, RequestTimeout, Stage, deploy, destroy};
use landfall_provider::{ErrorKind, StackName};
use tokio::time::Instant;

use crate::fake::{App, Fake, healthy};

/// What is asked before anything is changed, and how far a run has come by then.
const BEFORE: [(&str, Stage); 5] = [
    ("lock", Stage::Lock),
    ("list", Stage::Look),
    ("place", Stage::Look),
    ("preflight", Stage::Preflight),
    ("group_instances", Stage::Look),
];

/// A deploy of a second version on a provider that never answers this question.
async fn second(question: &'static str, stopped_after: Option<u64>) -> (Box<Failure>, Duration) {
    let (cloud, mut app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let effects = cloud.effects();
    *cloud.silent.lock().unwrap() = Some(question);
    app.options.request_timeout = RequestTimeout(Duration::from_secs(40));
    let began = Instant::now();
    let config = app.config("health = { path = '/healthz' }");
    let (deployed, ()) = tokio::join!(deploy(&cloud, &config, &app.options), async {
        if let Some(after) = stopped_after {
            tokio::time::sleep(Duration::from_secs(after)).await;
            app.options.apply.stop.cancel();
        }
    });
    assert_eq!(cloud.effects(), effects, "{question}");
    (deployed.unwrap_err(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_silent_is_given_up_in_time() {
    for (question, stage) in BEFORE {
        let (failure, took) = second(question, None).await;
        assert_eq!(failure.stage, stage, "{question}: {failure:?}");
        assert_eq!(failure.errors[0].kind(), ErrorKind::Timeout, "{question}");
        assert!(
            failure.errors[0]
                .to_string()
                .contains("has not answered for 40 s"),
            "{failure:?}"
        );
        assert_eq!(failure.remains, PostFailureState::Unchanged, "{question}");
        assert!((40..45).contains(&took.as_secs()), "{question}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_heard_while_a_provider_is_silent() {
    for (question, _) in BEFORE {
        let (failure, took) = second(question, Some(10)).await;
        assert_eq!(failure.stage, Stage::Interrupted, "{question}: {failure:?}");
        assert_eq!(failure.remains, PostFailureState::Unchanged, "{question}");
        assert!((10..15).contains(&took.as_secs()), "{question}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_of_what_does_not_answer_comes_to_an_end_too() {
    let (cloud, mut app) = (Fake::new(healthy), App::new());
    app.options.request_timeout = RequestTimeout(Duration::from_secs(40));
    *cloud.silent.lock().unwrap() = Some("lock");
    let name = StackName::new("digipay").unwrap();
    let failure = destroy(&cloud, &name, &app.options).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Lock);
    assert!(failure.errors[0].hint_text().unwrap().contains("`unlock`"));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_taken_while_the_run_was_stopped_is_released() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    app.options.apply.stop.cancel();
    let failure = deploy(&cloud, &app.config(""), &app.options).await;
    assert_eq!(failure.unwrap_err().stage, Stage::Interrupted);
    let options = landfall_pipeline::Options::default();
    deploy(&cloud, &app.config(""), &options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn health_that_nobody_tells_ends_the_wait() {
    for question in ["target_health", "group_instances"] {
        let (cloud, mut app) = (Fake::new(healthy), App::new());
        app.options.keep_failed = true;
        *cloud.silent.lock().unwrap() = Some(question);
        let began = Instant::now();
        let failure = deploy(&cloud, &app.config(""), &app.options)
            .await
            .unwrap_err();
        assert_eq!(failure.stage, Stage::Health, "{question}: {failure:?}");
        let error = failure.errors[0].to_string();
        assert!(error.contains("has not answered"), "{failure:?}");
        assert!(began.elapsed().as_secs() < 600, "{:?}", began.elapsed());

        let (began, config) = (Instant::now(), app.config(""));
        let (stopped, ()) = tokio::join!(deploy(&cloud, &config, &app.options), async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            app.options.apply.stop.cancel();
        });
        assert_eq!(stopped.unwrap_err().stage, Stage::Interrupted, "{question}");
        assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    }
}
