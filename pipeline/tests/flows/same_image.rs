//! A changed build context whose image has the same digest: there is no release, and nothing is replaced.

use landfall_pipeline::{Stage, deploy, plan};

use crate::fake::{App, Fake, How, healthy, seen};

/// The digest that the simulation says of every image.
fn held() -> String {
    format!("sha256:{}", "ab".repeat(32))
}

async fn deployed() -> (Fake, App) {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    (cloud, app)
}

fn effects_since(cloud: &Fake, before: usize) -> Vec<String> {
    cloud.effects().split_off(before)
}

#[tokio::test(start_paused = true)]
async fn same_digest_is_nothing_to_do_and_is_recorded() {
    let (cloud, app) = deployed().await;
    *cloud.builds_to.lock().unwrap() = Some(held().parse().unwrap());
    let before = cloud.effects().len();
    std::fs::write(app.path().join("README.md"), "changed").unwrap();

    let planned = plan(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(planned.review.is_empty(), "{:?}", planned.review.resources);
    assert!(cloud.recorded.lock().unwrap().is_empty());

    let saved = planned.save();
    std::fs::write(app.path().join("review.plan"), saved.to_text()).unwrap();
    let mut options = app.options.clone();
    options.saved = Some(saved);
    let deployed = deploy(&cloud, &app.config(""), &options).await.unwrap();
    assert!(deployed.changes.is_empty());
    assert_eq!(effects_since(&cloud, before), [""; 0]);
    let recorded = cloud.recorded.lock().unwrap();
    assert_eq!(recorded.len(), 1);
    assert!(recorded[0].repository.known().is_some());
}

#[tokio::test(start_paused = true)]
async fn another_digest_is_a_release() {
    let (cloud, app) = deployed().await;
    let before = cloud.effects().len();
    std::fs::write(app.path().join("main.rs"), "changed").unwrap();
    let planned = plan(&cloud, &app.config(""), &app.options).await.unwrap();
    let changed: Vec<String> = planned
        .review
        .resources
        .iter()
        .map(|one| one.key.to_string())
        .collect();
    assert_eq!(changed, ["image/web", "launch-template/web"]);
    cloud.now(|since| match since.is_zero() {
        true => healthy(since),
        false => vec![seen("i-3", 2, How::Healthy), seen("i-4", 2, How::Healthy)],
    });
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert_eq!(
        effects_since(&cloud, before),
        ["create image/web", "update launch-template/web"]
    );
    assert!(cloud.recorded.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_build_changes_nothing() {
    let (cloud, app) = deployed().await;
    let before = cloud.effects().len();
    *cloud.build_fails.lock().unwrap() = true;
    std::fs::write(app.path().join("main.rs"), "changed").unwrap();
    for failure in [
        plan(&cloud, &app.config(""), &app.options).await.err(),
        deploy(&cloud, &app.config(""), &app.options).await.err(),
    ] {
        let failure = failure.unwrap();
        assert_eq!(failure.stage, Stage::Build);
        assert_eq!(
            failure.remains,
            landfall_pipeline::PostFailureState::Unchanged
        );
    }
    assert_eq!(effects_since(&cloud, before), [""; 0]);
}
