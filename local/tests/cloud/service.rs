//! A service in the cloud: reached, kept alive, changed.

use std::collections::BTreeMap;

use bed::{Bed, Shape, until};
use landfall_compute::InstanceState;
use landfall_provider::Probe;
use landfall_testkit::http;

use crate::bed;

fn instance_of(answer: &http::Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let text = |field: &str| said[field].as_str().unwrap().to_owned();
    (text("instance"), text("zone"))
}

#[tokio::test]
async fn twenty_requests_reach_both_instances_ten_each_one_per_zone() {
    let bed = Bed::new();
    let url = bed.deploy(&Shape::named("even")).await;
    let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
    for _ in 0..20 {
        *counts
            .entry(instance_of(&http::get(&url, "/whoami").unwrap()))
            .or_default() += 1;
    }
    assert_eq!(
        counts.values().copied().collect::<Vec<_>>(),
        [10, 10],
        "{counts:?}"
    );
    let zones: Vec<_> = counts.keys().map(|(_, zone)| zone.as_str()).collect();
    assert!(
        zones.contains(&"local-1a") && zones.contains(&"local-1b"),
        "{zones:?}"
    );
}

#[tokio::test]
async fn a_second_deploy_has_nothing_to_do() {
    let bed = Bed::new();
    let shape = Shape::named("again");
    bed.deploy(&shape).await;
    let plan = bed.plan(&bed.stack(&shape)).await;
    let changing: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| !matches!(step.action, landfall_provider::Action::Keep { .. }))
        .collect();
    assert!(changing.is_empty(), "{changing:#?}");
}

#[tokio::test]
async fn exited_instance_is_replaced_while_another_serves() {
    let bed = Bed::new();
    let url = bed.deploy(&Shape::named("phoenix")).await;
    let before: Vec<_> = bed
        .targets("phoenix")
        .await
        .into_iter()
        .map(|target| target.id)
        .collect();
    let (killed, _) = instance_of(&http::get(&url, "/whoami").unwrap());

    let process = process_of(&killed);
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
    // From the moment that the balancer knows, nobody is sent there.
    until("the end to be noticed", async || {
        let instances = bed.instances("phoenix").await;
        let ended = |state: &InstanceState| matches!(state, InstanceState::Failed(_));
        instances
            .iter()
            .any(|one| one.id.as_ref() == killed && ended(&one.state) && one.ended.is_some())
            .then_some(())
    })
    .await;
    for _ in 0..20 {
        let (instance, _) = instance_of(&http::get(&url, "/whoami").unwrap());
        assert_ne!(instance, killed);
    }
    bed.until_healthy("phoenix", 2).await;
    let after: Vec<_> = bed
        .targets("phoenix")
        .await
        .into_iter()
        .map(|target| target.id)
        .collect();
    assert!(!after.contains(&killed), "{after:?}");
    assert_eq!(
        after.iter().filter(|id| before.contains(id)).count(),
        1,
        "{before:?} {after:?}"
    );
}

/// The service's process in this machine's numbering, found by its environment.
fn process_of(instance: &str) -> nix::unistd::Pid {
    let wanted = format!("LANDFALL_INSTANCE_ID={instance}");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        });
    nix::unistd::Pid::from_raw(found.unwrap_or_else(|| panic!("nobody has {wanted}")))
}

#[tokio::test]
async fn a_changed_environment_takes_over_without_a_failed_request() {
    let bed = Bed::new();
    let old = Shape::named("roll").env("GREETING", "old");
    let url = bed.deploy(&old).await;
    let asking = {
        let url = url.clone();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                *statuses
                    .entry(http::get(&url, "/whoami").unwrap().status)
                    .or_default() += 1;
            }
            statuses
        });
        (stop, thread)
    };
    let applied = bed
        .apply(&bed.stack(&old.clone().env("GREETING", "new")))
        .await;
    assert!(applied.is_complete(), "{:?}", applied.failed);
    bed.roll("roll").await;
    until("only the new version to be there", async || {
        let instances = bed.instances("roll").await;
        (instances.len() == 2 && instances.iter().all(|one| one.template_version == 2))
            .then_some(())
    })
    .await;
    for _ in 0..4 {
        assert!(
            http::get(&url, "/whoami")
                .unwrap()
                .body
                .contains(r#""greeting":"new""#)
        );
    }
    asking.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let statuses = asking.1.join().unwrap();
    assert_eq!(
        statuses.keys().copied().collect::<Vec<_>>(),
        [200],
        "{statuses:?}"
    );
}

#[tokio::test]
async fn third_zone_comes_and_goes_under_load() {
    let bed = Bed::new();
    let two = Shape::named("grow");
    let three = Shape {
        zones: 3,
        desired: 3,
        ..two.clone()
    };
    let url = bed.deploy(&two).await;
    assert_eq!(bed.deploy(&three).await, url);
    let mut zones = std::collections::BTreeSet::new();
    for _ in 0..6 {
        zones.insert(instance_of(&http::get(&url, "/whoami").unwrap()).1);
    }
    assert_eq!(zones.len(), 3, "{zones:?}");
    assert_eq!(bed.deploy(&two).await, url);
    for _ in 0..4 {
        assert_ne!(
            instance_of(&http::get(&url, "/whoami").unwrap()).1,
            "local-1c"
        );
    }
    assert!(bed.plan(&bed.stack(&two)).await.is_empty());
}

#[tokio::test]
async fn a_zone_that_goes_takes_its_instances_elsewhere_first() {
    let bed = Bed::new();
    let wide = Shape {
        zones: 3,
        desired: 3,
        ..Shape::named("move")
    };
    bed.deploy(&wide).await;
    let url = bed.deploy(&Shape { zones: 2, ..wide }).await;
    let zones: Vec<_> = bed
        .targets("move")
        .await
        .into_iter()
        .map(|target| target.zone.unwrap().to_string())
        .collect();
    assert_eq!(zones.len(), 3);
    assert!(!zones.contains(&"local-1c".to_owned()), "{zones:?}");
    assert_eq!(http::get(&url, "/whoami").unwrap().status, 200);
}

#[tokio::test]
async fn a_service_that_exits_at_once_fails_its_group_and_says_how() {
    let bed = Bed::new();
    let applied = bed
        .apply(&bed.stack(&Shape::named("dies").env("FAIL", "exit")))
        .await;
    // The group may have run for a moment; what counts is what it is found to be.
    let _ = applied;
    let why = until("the group to be given up", async || {
        let snapshot = bed.snapshot("dies").await;
        match &snapshot
            .get(&"autoscaling-group/web".parse().unwrap())?
            .state
        {
            Probe::Failed(why) => Some(why.clone()),
            _ => None,
        }
    })
    .await;
    assert!(why.contains("exited with code 3"), "{why}");
    let failed = bed.instances("dies").await;
    let last = failed
        .iter()
        .find(|one| matches!(one.state, InstanceState::Failed(_)))
        .unwrap();
    let output = landfall_compute::ComputeProvider::last_output(&bed.local, &last.id, 10)
        .await
        .unwrap();
    assert!(
        output
            .iter()
            .any(|line| line.contains("cannot find my database")),
        "{output:?}"
    );
    bed.destroy("dies").await;
}

#[tokio::test]
async fn a_target_that_is_not_healthy_says_why_in_awss_codes() {
    let bed = Bed::new();
    let shape = Shape::named("sick").env("HEALTH", "503");
    bed.apply(&bed.stack(&shape)).await;
    let reason = until("a target to be found unhealthy", async || {
        let targets = bed.targets("sick").await;
        let target = targets
            .into_iter()
            .find(|target| target.state == landfall_lb::TargetState::Unhealthy)?;
        Some((target.reason?.to_string(), target.description?))
    })
    .await;
    assert_eq!(reason.0, "Target.ResponseCodeMismatch");
    assert!(reason.1.contains("503"), "{reason:?}");
}
