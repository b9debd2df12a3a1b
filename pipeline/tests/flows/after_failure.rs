//! Every command after a release that went back: what serves is healthy, and its failed instances are still listed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use landfall_compute::{LaunchTemplate, Release, ReleaseNote, ReleaseState};
use landfall_pipeline::{RollbackTo, deploy, plan, releases, rollback, scale, status};
use landfall_provider::{Provider, StackName};
use tokio::time::Instant;

use crate::fake::{App, Fake, How, Rollouts, Seen, healthy, seen};

fn stack() -> StackName {
    StackName::new("digipay").unwrap()
}

/// So many that serve, of version 1, and the ended ones of version 2.
fn serving(count: usize) -> Vec<Seen> {
    let ids = ["i-1", "i-2", "i-3", "i-4"];
    let mut all: Vec<Seen> = ids[..count]
        .iter()
        .map(|id| seen(id, 1, How::Healthy))
        .collect();
    for id in ["i-7", "i-8", "i-9"] {
        all.push(seen(id, 2, How::Ended("exited with code 3")));
    }
    all
}

/// A stack whose release 2 was given up.
async fn went_back() -> (Fake, App) {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let listed = Provider::<LaunchTemplate>::list(&cloud, &stack()).await;
    let spec = listed.unwrap().remove(0).spec;
    let release = |version: u32, state: ReleaseState, env: &str| {
        let mut spec = spec.clone();
        spec.workload.env.insert("A".to_owned(), env.to_owned());
        Release {
            version,
            spec,
            made: Some(SystemTime::UNIX_EPOCH),
            who: None,
            note: ReleaseNote::default(),
            state,
        }
    };
    *cloud.rollouts.lock().unwrap() = Rollouts {
        newest: Some(2),
        releases: vec![
            release(1, ReleaseState::Current, "one"),
            release(
                2,
                ReleaseState::Failed("exited with code 3".to_owned()),
                "two",
            ),
        ],
        ..Rollouts::default()
    };
    cloud.now(|_| serving(2));
    app.events.lock().unwrap().clear();
    (cloud, app)
}

/// The instances once the provider was asked to bring them to this version.
fn taken_over(cloud: &Fake, version: u32) {
    let rollouts = std::sync::Arc::clone(&cloud.rollouts);
    cloud.now(move |_| match rollouts.lock().unwrap().asked.is_empty() {
        true => serving(2),
        false => vec![
            seen("i-11", version, How::Healthy),
            seen("i-12", version, How::Healthy),
        ],
    });
}

#[tokio::test(start_paused = true)]
async fn scale_waits_for_the_version_that_serves() {
    for (number, there) in [(3, 3), (1, 1), (2, 2)] {
        let (cloud, app) = went_back().await;
        cloud.now(move |since| {
            serving(if since < Duration::from_secs(5) {
                2
            } else {
                there
            })
        });
        let began = Instant::now();
        let counts = BTreeMap::from([("web".parse().unwrap(), number)]);
        let scaled = scale(&cloud, &stack(), &counts, &app.options).await;
        let scaled = scaled.unwrap_or_else(|failure| panic!("{number}: {}", failure.message));
        assert_eq!(scaled.unwrap().services[0].targets.len(), there);
        assert!(began.elapsed() < Duration::from_secs(30), "{number}");
        assert_eq!(cloud.rollouts.lock().unwrap().asked, [0; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn plan_says_that_deploy_tries_again_and_it_does() {
    let (cloud, app) = went_back().await;
    let planned = plan(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(planned.plan.is_empty() && !planned.review.is_empty());
    let pending = &planned.review.rollouts[0];
    assert_eq!((pending.from, pending.to), (1, 2));
    assert_eq!(pending.state.word(), "failed");

    taken_over(&cloud, 2);
    let mut options = app.options.clone();
    options.saved = Some(planned.save());
    deploy(&cloud, &app.config(""), &options).await.unwrap();
    assert_eq!(cloud.rollouts.lock().unwrap().asked, [2]);
}

#[tokio::test(start_paused = true)]
async fn plan_of_another_change_shows_that_change_alone() {
    let (cloud, app) = went_back().await;
    let config = app.config("env = { A = 'put right' }");
    let planned = plan(&cloud, &config, &app.options).await.unwrap();
    assert_eq!(planned.review.rollouts, []);
    assert_eq!(planned.review.resources.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rollback_takes_each_release() {
    let to = |release| RollbackTo {
        service: None,
        release,
    };
    // Nothing has served before the release that serves.
    let (cloud, app) = went_back().await;
    let refused = rollback(&cloud, &app.config(""), &to(None), &app.options).await;
    let message = refused.unwrap_err().message;
    assert!(message.contains("no earlier release"), "{message}");
    // The one that serves is there already.
    let same = rollback(&cloud, &app.config(""), &to(Some(1)), &app.options).await;
    assert!(same.unwrap().is_same());
    assert_eq!(cloud.rollouts.lock().unwrap().asked, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn status_and_releases_show_what_serves() {
    let (cloud, _) = went_back().await;
    let status = status(&cloud, &stack()).await.unwrap();
    let text = serde_json::to_string(&status).unwrap();
    assert!(text.contains("\"version\":1"), "{text}");
    let listed = releases(&cloud, &stack()).await.unwrap();
    let states: Vec<&str> = listed[0]
        .releases
        .iter()
        .map(|release| release.state.word())
        .collect();
    assert_eq!(states, ["current", "failed"]);
}
