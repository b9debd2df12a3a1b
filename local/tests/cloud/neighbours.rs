//! A service that takes all that it gets ends alone, with the reason: its neighbours lose no request.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use landfall_compute::{ByteSize, ComputeProvider, InstanceState, Limits};
use landfall_testkit::http;

use crate::bed::{Bed, COPIES, Shape, program, service_cache, until};

/// A user that no machine has.
const ORDINARY: u32 = 61_235;

/// What the attacker is told to do, and how its instance ends of it.
const ATTACKS: [(&str, &str); 4] = [
    ("memory", "ended: out of memory (limit 96 MiB)"),
    (
        "processes",
        "ended: too many processes and threads (limit 100)",
    ),
    ("disk", "ended: its disk is full (limit 32 MiB)"),
    (
        "files",
        "ended: its disk is full (limit 2048 files on 32 MiB)",
    ),
];

#[tokio::test]
async fn attackers_end_alone() {
    let bed = Bed::new();
    let calm = bed.deploy(&Shape::named("calm")).await;
    let evil = Shape {
        desired: 1,
        cidr: "10.9.0.0/16",
        limits: Limits {
            memory: Some(ByteSize::mib(96)),
            cpu: None,
            processes: Some(100),
            disk: Some(ByteSize::mib(32)),
        },
        ..Shape::named("evil")
    };
    let url = bed.deploy(&evil).await;
    let client = Client::start(&calm);
    for (attack, reason) in ATTACKS {
        let attacker = bed.targets("evil").await[0].id.clone();
        let asked = http::get(&url, &format!("/attack/{attack}")).unwrap();
        assert_eq!(asked.status, 200);
        let how = until(attack, async || {
            let instances = bed.instances("evil").await;
            let ended = instances
                .into_iter()
                .find(|it| it.id.as_ref() == attacker)?;
            match ended.state {
                InstanceState::Failed(how) => Some(how),
                _ => None,
            }
        })
        .await;
        assert_eq!(how, reason);
        let said = bed.local.last_output(&attacker.into(), 1).await.unwrap();
        assert_eq!(said, [format!("landfall: the instance {reason}")]);
        bed.until_healthy("evil", 1).await;
    }
    // One that only talks is made to wait.
    let talker = bed.targets("evil").await[0].id.clone().into();
    http::get(&url, "/attack/output").unwrap();
    until("the talker to be slowed down", async || {
        let said = bed.local.last_output(&talker, usize::MAX).await.unwrap();
        said.iter()
            .any(|line| line.contains("limit of its output"))
            .then_some(())
    })
    .await;
    let statuses = client.stop();
    assert_eq!(statuses.keys().collect::<Vec<_>>(), ["200"], "{statuses:?}");
    assert!(statuses["200"] > 100, "{statuses:?}");
    bed.destroy("evil").await;
    bed.destroy("calm").await;
}

/// The same, in this program executed as an ordinary user: without control groups, in a user namespace.
#[test]
fn attackers_of_an_ordinary_user_end_alone() {
    let copies = tempfile::Builder::new()
        .prefix("lfn-")
        .tempdir_in("/tmp")
        .unwrap();
    // The folder of the build may be closed to other users.
    landfall_testkit::service::program(&service_cache()).unwrap();
    for name in ["landfall-test-service", "landfall-test-service.rs"] {
        std::fs::copy(service_cache().join(name), copies.path().join(name)).unwrap();
    }
    std::fs::copy(program(), copies.path().join("landfall-cloud")).unwrap();
    let tests = copies.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let mut command = Command::new(&tests);
    command
        .args(["--exact", "neighbours::attackers_end_alone", "--nocapture"])
        .env(COPIES, copies.path())
        .env("TMPDIR", copies.path())
        .env_remove("XDG_RUNTIME_DIR")
        .current_dir(copies.path());
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(copies.path(), Some(ORDINARY), Some(ORDINARY)).unwrap();
        command.uid(ORDINARY).gid(ORDINARY);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}

/// Somebody who asks again and again.
struct Client {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, u32>>,
}

impl Client {
    fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped) = (url.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut statuses = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let said = match http::get(&url, "/whoami") {
                    Ok(answer) => answer.status.to_string(),
                    Err(error) => error.to_string(),
                };
                *statuses.entry(said).or_default() += 1;
            }
            statuses
        });
        Self { stop, thread }
    }

    /// How often it was answered, by the answer.
    fn stop(self) -> BTreeMap<String, u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
