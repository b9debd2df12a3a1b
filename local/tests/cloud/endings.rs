//! How things end: in order, by force, halfway; and what is left.

use std::collections::BTreeSet;
use std::path::Path;

use bed::{Bed, Shape, until};
use landfall_provider::{Attempt, ErrorKind, Holder, LockGuard, Stack, StackLock, StackName};
use landfall_testkit::http;

use crate::bed;

/// Takes the lock of a stack.
async fn lock(bed: &Bed, stack: &StackName, doing: &str) -> Attempt {
    let holder = Holder::now(doing, "ana@build-3");
    bed.local.lock(stack, &holder).await.unwrap()
}

async fn taken(bed: &Bed, stack: &StackName, doing: &str) -> Option<LockGuard> {
    match lock(bed, stack, doing).await {
        Attempt::Taken(guard) => Some(guard),
        Attempt::Busy(_) => None,
    }
}

/// Every process that mentions the directory in its command line or environment.
fn processes_of(dir: &Path) -> BTreeSet<String> {
    let reference = dir.to_str().unwrap().as_bytes().to_vec();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let resolved_refs = |path: String| {
        let text = std::fs::read(path).unwrap_or_default();
        text.windows(reference.len())
            .any(|window| window == reference)
    };
    processes
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| resolved_refs(format!("/proc/{pid}/cmdline")))
        .collect()
}

/// The network namespaces that any process of this machine is in.
fn instance_processes(ids: &[String]) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            ids.iter().any(|id| {
                let wanted = format!("LANDFALL_INSTANCE_ID={id}");
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == wanted.as_bytes())
            })
        })
        .count()
}

#[tokio::test]
async fn after_destroy_nothing_is_left_but_the_files_of_images() {
    let bed = Bed::new();
    let url = bed.deploy(&Shape::named("gone")).await;
    let ids: Vec<_> = bed
        .targets("gone")
        .await
        .into_iter()
        .map(|target| target.id)
        .collect();
    assert_eq!(instance_processes(&ids), 2);
    bed.destroy("gone").await;
    bed.local.settle().await.unwrap();
    assert!(bed.cloud().is_none());
    assert!(http::get(&url, "/").is_err());
    assert_eq!(instance_processes(&ids), 0);
    assert_eq!(processes_of(&bed.run_dir()), BTreeSet::new());
    let left = std::fs::read_dir(bed.run_dir())
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    assert_eq!(
        left.unwrap_or_else(|_| Vec::<std::path::PathBuf>::new()),
        Vec::<std::path::PathBuf>::new()
    );
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(
        !mounts.contains(bed.dir.path().to_str().unwrap()),
        "{mounts}"
    );
    assert!(bed.snapshot("gone").await.is_empty());
    // What is left is the image's files, for the next time; they are nobody's.
    let store = landfall_container::Store::open(bed.dir.path().join("images")).unwrap();
    let images = store.list().unwrap().into_iter();
    let digests: BTreeSet<_> = images
        .map(|image| image.manifest_digest.to_string())
        .collect();
    assert_eq!(digests.len(), 1);
}

#[tokio::test]
async fn killed_cloud_is_replaced_by_the_next_deploy() {
    let bed = Bed::new();
    let shape = Shape::named("struck");
    let url = bed.deploy(&shape).await;
    let ids: Vec<_> = bed
        .targets("struck")
        .await
        .into_iter()
        .map(|target| target.id)
        .collect();
    let pid = bed.cloud().unwrap().pid.unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("every process to be gone", async || {
        (processes_of(&bed.run_dir()).is_empty() && instance_processes(&ids) == 0).then_some(())
    })
    .await;
    assert!(http::get(&url, "/").is_err());
    // Destroying what is gone already is no error.
    bed.destroy("struck").await;
    assert_eq!(bed.deploy(&shape).await, url, "the address stays");
    assert_eq!(http::get(&url, "/").unwrap().status, 200);
}

#[tokio::test]
async fn lock_names_its_holder_to_the_second_run() {
    let bed = Bed::new();
    let (name, other) = (
        StackName::new("held").unwrap(),
        StackName::new("free").unwrap(),
    );
    let guard = taken(&bed, &name, "deploy").await;
    let Attempt::Busy(holder) = lock(&bed, &name, "destroy").await else {
        panic!("two runs hold one stack");
    };
    assert_eq!(
        (holder.doing.as_str(), holder.who.as_str()),
        ("deploy", "ana@build-3")
    );
    assert_eq!(
        bed.local.holder(&name).await.unwrap().as_ref(),
        Some(&holder)
    );
    let refusal = bed.local.break_lock(&name, &holder).await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Denied, "its process lives");
    assert!(taken(&bed, &other, "deploy").await.is_some());
    drop(guard);
    until("the lock to end with its holder", async || {
        taken(&bed, &name, "destroy").await
    })
    .await;
    until("nobody to hold it", async || {
        bed.local
            .holder(&name)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    bed.local.break_lock(&name, &holder).await.unwrap();
}

#[tokio::test]
async fn dead_cloud_under_a_lock_is_not_taken_for_empty() {
    let bed = Bed::new();
    let name = StackName::new("missed").unwrap();
    let guard = taken(&bed, &name, "deploy").await;
    bed.deploy(&Shape::named("missed")).await;
    let pid = bed.cloud().unwrap().pid.unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let error = until("the end to be noticed", async || {
        bed.catalog.snapshot(&bed.local, &name).await.err()
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    drop(guard);
    // Without a lock there is nothing to miss: there is no cloud, so it holds nothing.
    assert!(bed.snapshot("missed").await.is_empty());
}

#[tokio::test]
async fn stopped_run_is_finished_without_duplicates() {
    let bed = Bed::new();
    let shape = Shape::named("half");
    let desired = bed.stack(&shape);
    let options = landfall_provider::ApplyOptions {
        poll_interval: landfall_provider::PollInterval::LOCAL,
        ..landfall_provider::ApplyOptions::default()
    };
    let stop = options.stop.clone();
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let events = landfall_provider::Events::to(move |event| {
        let done = matches!(event, landfall_provider::Event::Done { .. });
        if done && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 8 {
            stop.cancel();
        }
    });
    let plan = bed.plan(&desired).await;
    let options = landfall_provider::ApplyOptions { events, ..options };
    let applied = landfall_provider::apply(&plan, &bed.local, &bed.catalog, &options).await;
    assert!(
        !applied.not_started.is_empty() && applied.failed.is_empty(),
        "{applied:?}"
    );
    bed.deploy(&shape).await;
    let live = bed.snapshot("half").await;
    let keys: BTreeSet<_> = live.found().iter().map(|found| &found.key).collect();
    assert_eq!(keys.len(), live.found().len(), "no key twice");
    assert_eq!(keys.len(), desired.resources().len());
}

#[tokio::test]
async fn what_is_in_use_does_not_go_and_what_is_gone_is_no_error() {
    let bed = Bed::new();
    bed.deploy(&Shape::named("used")).await;
    let snapshot = bed.snapshot("used").await;
    let vpc = snapshot.get(&"vpc/main".parse().unwrap()).unwrap();
    let live = landfall_provider::Live::<landfall_network::Vpc> {
        id: vpc.id.clone().into(),
        name: "main".parse().unwrap(),
        spec: serde_json::from_value(vpc.spec.clone()).unwrap(),
        state: landfall_provider::Probe::Usable(()),
    };
    let error = landfall_provider::Provider::delete(&bed.local, &live)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    bed.destroy("used").await;
    landfall_provider::Provider::delete(&bed.local, &live)
        .await
        .unwrap();
    assert!(
        bed.apply(&Stack::new(StackName::new("used").unwrap()))
            .await
            .is_complete()
    );
}
