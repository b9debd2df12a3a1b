//! Back to an earlier release, on purpose.

use std::time::{Duration, SystemTime};

use landfall_compute::{LaunchTemplate, Release, ReleaseNote, ReleaseState};
use landfall_lb::HealthReason;
use landfall_pipeline::{
    Config, Failure, PostFailureState, RollbackTo, RolledBack, RolledBackService, Stage, deploy,
    rollback,
};
use landfall_provider::{ImageId, Input, Port, Probe, Provider, StackName};

use crate::fake::{App, Fake, How, Rollouts, healthy, seen};

use ReleaseState::{Current, Superseded, Waiting};

/// Releases whose environments tell them apart, from 1 on, and what each goes back to.
type Reported<'a> = &'a [(ReleaseState, &'a str, Option<u32>)];

/// A stack that is up, with these releases; the next one has the number after them.
async fn released(reported: Reported<'_>) -> (Fake, App, Config) {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let config = app.config("");
    deploy(&cloud, &config, &app.options).await.unwrap();
    let stack = StackName::new("digipay").unwrap();
    let live = Provider::<LaunchTemplate>::list(&*cloud.sim, &stack).await;
    let spec = live.unwrap().remove(0).spec;
    let releases = (1..).zip(reported).map(|(version, (state, log, back_to))| {
        let mut spec = spec.clone();
        spec.workload.env.insert("LOG".into(), (*log).into());
        Release {
            version,
            spec,
            made: Some(SystemTime::UNIX_EPOCH),
            who: None,
            note: ReleaseNote {
                who: String::new(),
                commit: Some(format!("commit-{version}")),
                back_to: *back_to,
            },
            state: state.clone(),
        }
    });
    *cloud.rollouts.lock().unwrap() = Rollouts {
        newest: Some(u32::try_from(reported.len()).unwrap() + 1),
        releases: releases.collect(),
        ..Rollouts::default()
    };
    (cloud, app, config)
}

fn failed() -> ReleaseState {
    ReleaseState::Failed("exited with code 1".to_owned())
}

async fn back(
    (cloud, app, config): &(Fake, App, Config),
    release: Option<u32>,
) -> Result<RolledBack, Box<Failure>> {
    let to = RollbackTo {
        service: None,
        release,
    };
    let calls = cloud.effects().len();
    let new = cloud.rollouts.lock().unwrap().newest.unwrap();
    cloud.now(move |since| match since.is_zero() {
        true => healthy(since),
        false => ["i-8", "i-9"]
            .map(|id| seen(id, new, How::Healthy))
            .to_vec(),
    });
    let outcome = rollback(cloud, config, &to, &app.options).await;
    let effects = cloud.effects().split_off(calls);
    match &outcome {
        Ok(back) if !back.is_same() => {
            assert_eq!(effects.len(), 1, "{effects:?}");
            assert!(effects[0].starts_with("update "), "{effects:?}");
        }
        _ => assert_eq!(effects, [""; 0], "{outcome:?}"),
    }
    outcome
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_release_ran_becomes_a_new_one() {
    let bed = released(&[
        (Superseded, "one", None),
        (Superseded, "two", None),
        (Current, "three", None),
    ])
    .await;
    let back = back(&bed, Some(1)).await.unwrap();
    assert_eq!((back.from, back.to, back.release), (3, 1, 4));
    assert_eq!(back.targets.len(), 2);
    let (cloud, ..) = &bed;
    let rollouts = cloud.rollouts.lock().unwrap();
    assert_eq!(rollouts.asked, [4]);
    let note = rollouts.notes.last().unwrap();
    assert_eq!(note.back_to, Some(1));
    assert_eq!(note.commit.as_deref(), Some("commit-1"));
    assert_eq!(note.who, "ana@build-3");
}

#[tokio::test(start_paused = true)]
async fn without_a_number_it_is_the_last_one_that_served() {
    for (reported, to) in [
        // A failed one and one that was never tried are left out.
        (
            &[
                (Superseded, "one", None),
                (failed(), "two", None),
                (Current, "three", None),
                (Waiting, "four", None),
            ][..],
            1,
        ),
        // Who went back from 3 to 2 goes on to 1, and not to 3 again.
        (
            &[
                (Superseded, "one", None),
                (Superseded, "two", None),
                (Superseded, "three", None),
                (Current, "two", Some(2)),
            ],
            1,
        ),
        // One that runs the same is no other.
        (
            &[
                (Superseded, "one", None),
                (Superseded, "two", None),
                (Current, "two", None),
            ],
            1,
        ),
    ] {
        let bed = released(reported).await;
        assert_eq!(back(&bed, None).await.unwrap().to, to, "{reported:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_is_nothing_to_go_back_to_nothing_is_done() {
    for reported in [
        &[(Current, "one", None)][..],
        &[(failed(), "one", None), (Current, "two", None)],
        &[
            (Superseded, "one", None),
            (Superseded, "two", None),
            (Current, "one", Some(1)),
        ],
    ] {
        let failure = back(&released(reported).await, None).await.unwrap_err();
        assert_eq!(failure.stage, Stage::Plan);
        assert!(
            failure.message.starts_with("no earlier release"),
            "{}",
            failure.message
        );
        assert_eq!(failure.remains, PostFailureState::Unchanged);
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_not_there_is_refused_with_those_that_are() {
    let bed = released(&[(Superseded, "one", None), (Current, "two", None)]).await;
    let failure = back(&bed, Some(7)).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Plan);
    assert_eq!(failure.message, "web has no release 7");
    assert!(failure.hint.unwrap().starts_with("there are 1, 2;"));
}

#[tokio::test(start_paused = true)]
async fn the_release_that_serves_is_there_already() {
    let bed = released(&[(Superseded, "one", None), (Current, "two", None)]).await;
    let back = back(&bed, Some(2)).await.unwrap();
    assert!(back.is_same());
    assert_eq!((back.from, back.to), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn release_without_its_image_is_refused_first() {
    let bed = released(&[(Superseded, "one", None), (Current, "two", None)]).await;
    let gone = ImageId::from("digipay/web@sha256:00");
    bed.0.rollouts.lock().unwrap().releases[0]
        .spec
        .workload
        .image = Input::Known(gone);
    let failure = back(&bed, Some(1)).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Preflight);
    assert_eq!(
        failure.message,
        "the image of release 1 of web is gone: digipay/web@sha256:00"
    );
}

#[tokio::test(start_paused = true)]
async fn release_on_another_port_is_refused_with_advice() {
    let bed = released(&[(Superseded, "one", None), (Current, "two", None)]).await;
    bed.0.rollouts.lock().unwrap().releases[0]
        .spec
        .workload
        .port = Port::new(9000).unwrap();
    let failure = back(&bed, Some(1)).await.unwrap_err();
    assert_eq!(failure.stage, Stage::Preflight);
    assert_eq!(
        failure.message,
        "release 1 of web listens on port 9000, and its target group uses port 8000"
    );
    assert!(failure.hint.unwrap().contains("`port = 9000`"));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_does_not_become_healthy_goes_back_itself() {
    let (cloud, app, config) = released(&[(Superseded, "one", None), (Current, "two", None)]).await;
    cloud.rollouts.lock().unwrap().course =
        vec![Probe::Pending("0 of 2 are healthy".to_owned()); 5000].into();
    cloud.rollouts.lock().unwrap().way_back = [Probe::Failed("back".to_owned())].into();
    cloud.now(|since| {
        let sick = How::UnhealthyTarget(HealthReason::Timeout, "no answer within 5 s");
        let mut all = vec![seen("i-1", 2, How::Healthy), seen("i-2", 2, How::Healthy)];
        if since > Duration::from_secs(1) {
            all.push(seen("i-8", 3, sick));
        }
        all
    });
    let failure = rollback(&cloud, &config, &RollbackTo::default(), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.stage, Stage::Health);
    let services = vec![RolledBackService {
        service: "web".parse().unwrap(),
        from: 3,
        to: 2,
    }];
    assert_eq!(
        failure.remains,
        PostFailureState::RolledBackServices { services }
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_or_not_named_is_refused() {
    let (cloud, app, config) = released(&[(Current, "one", None)]).await;
    let to = RollbackTo {
        service: Some("api".parse().unwrap()),
        release: None,
    };
    let failure = rollback(&cloud, &config, &to, &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.message, "there is no service api in the file");
    assert_eq!(failure.hint.as_deref(), Some("it has web"));

    let two = app.config("[service.api]\nport = 8001\nroute = '/api/*'");
    let failure = rollback(&cloud, &two, &RollbackTo::default(), &app.options)
        .await
        .unwrap_err();
    assert_eq!(failure.message, "which service is to go back?");
    let to = RollbackTo {
        service: Some("api".parse().unwrap()),
        release: None,
    };
    let failure = rollback(&cloud, &two, &to, &app.options).await.unwrap_err();
    assert_eq!(failure.message, "digipay does not hold the service api");
}
