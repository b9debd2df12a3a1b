//! A stack's life: deployed, looked at, deployed again, interrupted, destroyed.

use std::time::Duration;

use landfall_pipeline::{Cloud, PostFailureState, Stage, deploy, destroy, plan, status};
use landfall_provider::{Error, ErrorKind, Event, Events, StackName, kind};
use landfall_testkit::sim::{Fault, Sim, When};
use tokio::time::Instant;

use crate::fake::{App, Fake, healthy};

fn name() -> StackName {
    StackName::new("digipay").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_makes_everything_and_gives_the_address() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let deployed = deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert_eq!(deployed.url, "http://digipay.example/");
    assert_eq!(deployed.dns_name, "digipay.example");
    assert_eq!(deployed.targets.len(), 2);
    assert!(deployed.image.starts_with("image-"), "{}", deployed.image);
    assert_eq!(deployed.changes.create.len(), cloud.held().len());
    assert_eq!(deployed.changes.keep, 0);
    insta::assert_snapshot!(cloud.held().join("\n"));
    // The names that scripts read.
    let json = serde_json::to_value(&deployed).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "changes",
            "dns_name",
            "duration_ms",
            "image",
            "services",
            "stack",
            "targets",
            "url"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn deploying_again_asks_once_and_changes_nothing() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let first = deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let (calls, effects) = (cloud.sim.calls().len(), cloud.effects().len());
    cloud.now(healthy);
    app.events.lock().unwrap().clear();

    let again = deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(again.changes.is_empty(), "{:?}", again.changes);
    assert_eq!(again.changes.keep, first.changes.create.len());
    assert_eq!((&again.url, &again.image), (&first.url, &first.image));
    assert_eq!(cloud.effects().len(), effects);
    // One listing of each kind, and one look at the targets.
    let mut lists = cloud.sim.calls().split_off(calls);
    lists.retain(|call| !call.what.is_empty());
    assert!(lists.iter().all(|call| call.verb == "list"), "{lists:?}");
    let mut kinds: Vec<_> = lists.iter().map(|call| &call.what).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), lists.len());
    assert_eq!(*cloud.looks.lock().unwrap(), 1);
    assert_eq!(app.events.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plan_changes_nothing_and_needs_no_lock() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let first = plan(&cloud, &app.config(""), &app.options).await.unwrap();
    assert_eq!(cloud.effects(), Vec::<String>::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let second = plan(&cloud, &app.config(""), &app.options).await.unwrap();
    assert!(!first.review.is_empty() && second.review.is_empty());
    assert_eq!(first.plan.steps.len(), second.plan.steps.len());
}

#[tokio::test(start_paused = true)]
async fn status_follows_a_request_from_listener_to_target() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let nothing = status(&cloud, &name()).await.unwrap();
    assert!(!nothing.exists() && !nothing.is_healthy());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let status = status(&cloud, &name()).await.unwrap();
    assert!(status.exists() && status.is_healthy());
    insta::assert_json_snapshot!(status);
}

#[tokio::test(start_paused = true)]
async fn destroy_needs_the_name_alone_and_leaves_nothing() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let there = cloud.held().len();
    let destroyed = destroy(&cloud, &name(), &app.options).await.unwrap();
    // The image goes with its repository.
    assert_eq!(destroyed.deleted.len(), there - 1);
    assert_eq!(destroyed.kept, []);
    assert_eq!(destroyed.left, []);

    let again = destroy(&cloud, &name(), &app.options).await.unwrap();
    assert_eq!((again.deleted, again.left), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_destroy_that_fails_says_what_is_left_and_can_be_repeated() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    cloud.sim.inject(0, Fault::Refuse(ErrorKind::Denied));
    let failure = destroy(&cloud, &name(), &app.options).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Apply);
    assert_eq!(failure.errors[0].kind(), ErrorKind::Denied);
    let PostFailureState::Resources { keys, .. } = &failure.remains else {
        panic!("{:?}", failure.remains);
    };
    let left = cloud.held();
    let left: Vec<_> = left.iter().filter(|key| *key != "image/web").collect();
    assert_eq!(
        keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        left.into_iter().cloned().collect::<Vec<_>>()
    );
    destroy(&cloud, &name(), &app.options).await.unwrap();
    assert!(cloud.held().is_empty(), "{:?}", cloud.held());
}

#[tokio::test(start_paused = true)]
async fn failed_last_listing_leaves_the_rest_unknown() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    let before = cloud.sim.calls();
    plan(&cloud, &app.config(""), &app.options).await.unwrap();
    // One look is one listing of each kind; the destroy begins with such a look as well.
    let look = cloud.sim.calls().len() - before.len();
    cloud.sim.fault(
        When::verb("list").after(look),
        Fault::Refuse(ErrorKind::Denied),
    );
    let failure = destroy(&cloud, &name(), &app.options).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Look);
    let PostFailureState::Unknown { why } = &failure.remains else {
        panic!("{:?}", failure.remains);
    };
    assert!(!why.is_empty());
    assert!(
        failure.message.contains("resources were deleted"),
        "{}",
        failure.message
    );
    assert_eq!(failure.errors[0].kind(), ErrorKind::Denied);
    assert!(cloud.held().is_empty(), "{:?}", cloud.held());
}

#[tokio::test(start_paused = true)]
async fn a_destroy_that_failed_on_the_way_and_left_nothing_is_done() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    app.events.lock().unwrap().clear();
    // It has its effect, and never answers.
    cloud
        .sim
        .fault(When::verb("delete").kind(kind::VPC), Fault::HangAfter);
    let destroyed = destroy(&cloud, &name(), &app.options).await.unwrap();
    assert_eq!(destroyed.left, []);
    assert!(destroyed.deleted.contains(&"vpc/main".parse().unwrap()));
    let events = app.events.lock().unwrap();
    let notices: Vec<&String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Notice { text } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("vpc/main"), "{notices:?}");
    assert!(notices[0].ends_with("and yet it is gone"), "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_undoes_a_first_deploy() {
    let sim = Sim::new().fails("nat-gateway/b".parse().unwrap(), "no address is left");
    let (cloud, app) = (Fake::on(sim, healthy), App::new());
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Apply);
    insta::assert_snapshot!(failure.message);
    assert_eq!(
        failure.errors[0].to_string(),
        "creating nat-gateway/b: no address is left"
    );
    let PostFailureState::RolledBack { deleted } = &failure.remains else {
        panic!("{:?}", failure.remains);
    };
    assert!(deleted.contains(&"vpc/main".parse().unwrap()));
    assert!(cloud.held().is_empty(), "{:?}", cloud.held());
}

#[tokio::test(start_paused = true)]
async fn it_stays_when_it_is_to_be_looked_at() {
    let sim = Sim::new().fails("nat-gateway/b".parse().unwrap(), "no address is left");
    let (cloud, mut app) = (Fake::on(sim, healthy), App::new());
    app.options.keep_failed = true;
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    let PostFailureState::Resources { keys, .. } = &failure.remains else {
        panic!("{:?}", failure.remains);
    };
    assert!(keys.contains(&"vpc/main".parse().unwrap()));
    assert!(cloud.held().contains(&"vpc/main".to_owned()));
}

/// Interrupts as soon as this is done, deploys, and gives how the run ended.
async fn interrupted(
    cloud: &Fake,
    app: &mut App,
    when: &'static str,
) -> Box<landfall_pipeline::Failure> {
    let stop = app.options.apply.stop.clone();
    app.options.apply.events = Events::to(move |event| {
        if let Event::Done { key, .. } | Event::Waiting { key, .. } = event
            && key.to_string() == when
        {
            stop.cancel();
        }
    });
    let failure = deploy(cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    app.options.apply.stop = Default::default();
    app.options.apply.events = Events::nowhere();
    failure
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_deploy_leaves_what_is_there_and_is_continued() {
    for when in ["vpc/main", "nat-gateway/a", "autoscaling-group/web"] {
        let (cloud, mut app) = (Fake::new(healthy), App::new());
        let failure = interrupted(&cloud, &mut app, when).await;
        assert_eq!(failure.stage, Stage::Interrupted, "{when}: {failure:?}");
        let PostFailureState::Resources { keys, next } = &failure.remains else {
            panic!("{:?}", failure.remains);
        };
        assert!(keys.contains(&"vpc/main".parse().unwrap()));
        assert!(next.contains("deploy") && next.contains("destroy"));
        let undone = failure.on_its_way.len() + failure.not_started.len();
        let waits = failure.message.contains("becoming healthy");
        assert_eq!(undone == 0, waits, "{when}: {failure:?}");
        if when == "vpc/main" {
            let group = "autoscaling-group/web".parse().unwrap();
            assert!(failure.not_started.contains(&group), "{failure:?}");
        }
        if when == "nat-gateway/a" {
            let gateway = "nat-gateway/a".parse().unwrap();
            assert!(failure.on_its_way.contains(&gateway), "{failure:?}");
        }

        let made = cloud.held();
        let deployed = deploy(&cloud, &app.config(""), &app.options).await.unwrap();
        assert_eq!(
            deployed.changes.create.len() + made.len(),
            cloud.held().len(),
            "{when}: no second one"
        );
        let mut once = cloud.held();
        once.dedup();
        assert_eq!(once, cloud.held(), "{when}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_deploy_can_be_destroyed() {
    let (cloud, mut app) = (Fake::new(healthy), App::new());
    interrupted(&cloud, &mut app, "nat-gateway/a").await;
    destroy(&cloud, &name(), &app.options).await.unwrap();
    assert!(cloud.held().is_empty(), "{:?}", cloud.held());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_stopped_before_it_begins_changes_nothing() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    app.options.apply.stop.cancel();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(
        (failure.stage, failure.remains),
        (Stage::Interrupted, PostFailureState::Unchanged)
    );
    assert_eq!(cloud.effects(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn preflight_findings_come_first() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let findings = ["the loopback port 8080 is taken", "no user namespaces"];
    *cloud.findings.lock().unwrap() = findings
        .map(|why| Error::new(ErrorKind::Invalid, why))
        .into();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(
        (failure.stage, &failure.remains),
        (Stage::Preflight, &PostFailureState::Unchanged)
    );
    assert_eq!(
        failure.message,
        "the plan cannot be carried out, for 2 reasons"
    );
    assert_eq!(failure.errors.len(), 2);
    assert_eq!(cloud.effects(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_context_without_a_dockerfile_is_named() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    std::fs::remove_file(app.path().join("Dockerfile")).unwrap();
    let failure = deploy(&cloud, &app.config(""), &app.options)
        .await
        .unwrap_err();
    assert_eq!(
        (failure.stage, &failure.remains),
        (Stage::Sources, &PostFailureState::Unchanged)
    );
    let why = failure.errors[0].to_string();
    assert!(
        why.contains(&app.path().join("Dockerfile").display().to_string()),
        "{why}"
    );
    assert_eq!(cloud.effects(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_second_stack_is_left_alone() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let mut other = app.config("");
    other.stack = StackName::new("other").unwrap();
    deploy(&cloud, &other, &app.options).await.unwrap();
    let theirs = cloud.held();
    deploy(&cloud, &app.config(""), &app.options).await.unwrap();
    destroy(&cloud, &name(), &app.options).await.unwrap();
    assert_eq!(cloud.held(), theirs);
    assert!(status(&cloud, &other.stack).await.unwrap().is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_deploy_can_be_spawned_and_its_cloud_be_anything() {
    let app = App::new();
    let (config, options) = (app.config(""), app.options.clone());
    let deployed = tokio::spawn(async move {
        let cloud: Box<dyn Cloud> = Box::new(Fake::new(healthy));
        deploy(&*cloud, &config, &options).await
    });
    let began = Instant::now();
    deployed.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(60));
}
