//! From one version of a template to another and back, as the cloud does it by itself.

use bed::{Bed, Shape, until};
use landfall_compute::{ComputeProvider, InstanceState, ReleaseNote, ReleaseState};
use landfall_provider::{ErrorKind, Probe};

use crate::bed;

/// A stack that is up, whose template has a second version with this environment.
async fn changed(bed: &Bed, name: &'static str, env: (&str, &str)) -> Vec<String> {
    let shape = Shape::named(name);
    bed.deploy(&shape).await;
    let ids = alive(bed, name).await;
    change(bed, &shape, env).await;
    ids
}

async fn change(bed: &Bed, shape: &Shape, env: (&str, &str)) {
    let applied = bed
        .apply(&bed.stack(&shape.clone().env(env.0, env.1)))
        .await;
    assert!(applied.is_complete(), "{:?}", applied.failed);
}

/// The ids of those that run.
async fn alive(bed: &Bed, name: &str) -> Vec<String> {
    let instances = bed.instances(name).await;
    let running = instances
        .iter()
        .filter(|one| one.state == InstanceState::Running);
    running.map(|one| one.id.to_string()).collect()
}

async fn states(bed: &Bed, name: &str) -> Vec<ReleaseState> {
    let releases = bed.releases(name).await.into_iter();
    releases.map(|release| release.state).collect()
}

#[tokio::test]
async fn group_runs_its_rolled_out_version() {
    let bed = Bed::new();
    let before = changed(&bed, "stays", ("GREETING", "new")).await;
    assert_eq!(
        states(&bed, "stays").await,
        [ReleaseState::Current, ReleaseState::Waiting]
    );
    assert_eq!(
        bed.output("stays", "autoscaling-group/web").await["version"],
        1
    );
    assert_eq!(alive(&bed, "stays").await, before);

    let (group, template) = bed.released("stays").await;
    let error = bed.local.roll(&group, &template, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = bed.local.roll_back(&group, "no").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_does_not_become_healthy_is_given_up_though_nobody_asks() {
    let bed = Bed::new();
    let before = changed(&bed, "forsaken", ("HEALTH", "500")).await;
    bed.roll("forsaken").await;
    let Probe::Pending(why) = bed.rolling("forsaken").await else {
        panic!("it is under way");
    };
    assert!(
        why.contains("0 of 2 instances of version 2 are healthy"),
        "{why}"
    );
    // The shape's grace period is half a minute.
    let why = until("it to be given up", async || {
        match bed.rolling("forsaken").await {
            Probe::Failed(why) => Some(why),
            _ => None,
        }
    })
    .await;
    for part in [
        "version 2 failed, and version 1 was restored",
        "0 of 2 instances became healthy in time",
        "Target.ResponseCodeMismatch",
        "[500]",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let state = states(&bed, "forsaken").await;
    assert_eq!(state[0], ReleaseState::Current);
    assert!(matches!(&state[1], ReleaseState::Failed(why) if why.contains("[500]")));
    until("the new ones to be gone", async || {
        (alive(&bed, "forsaken").await == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_back_leaves_the_old_ones_as_they_were() {
    let bed = Bed::new();
    let before = changed(&bed, "undone", ("LISTEN", "9000")).await;
    bed.roll("undone").await;
    until("the new ones to run", async || {
        (alive(&bed, "undone").await.len() == 4).then_some(())
    })
    .await;
    let elsewhere = until("it to be seen where they listen", async || {
        let targets = bed.targets("undone").await;
        let reported = targets.into_iter().filter_map(|target| target.description);
        reported
            .into_iter()
            .find(|reported| reported.contains("listens on"))
    })
    .await;
    assert!(
        elsewhere.ends_with("; the service listens on port 9000"),
        "{elsewhere}"
    );

    let (group, _) = bed.released("undone").await;
    bed.local.roll_back(&group, "seen enough").await.unwrap();
    until("version 1 to be back", async || {
        matches!(bed.rolling("undone").await, Probe::Failed(_)).then_some(())
    })
    .await;
    until("the new ones to be gone", async || {
        (alive(&bed, "undone").await == before).then_some(())
    })
    .await;
    assert_eq!(
        states(&bed, "undone").await,
        [
            ReleaseState::Current,
            ReleaseState::Failed("seen enough".to_owned())
        ]
    );
    // Once more is no harm.
    bed.local.roll_back(&group, "again").await.unwrap();
}

#[tokio::test]
async fn one_rollout_gives_way_to_the_next() {
    let bed = Bed::new();
    changed(&bed, "newer", ("HEALTH", "500")).await;
    bed.roll("newer").await;
    until("instances of version 2 to run", async || {
        (alive(&bed, "newer").await.len() == 4).then_some(())
    })
    .await;
    bed.local.note_releases(ReleaseNote {
        who: "ana@build-3".to_owned(),
        commit: Some("1a2b3c4d5e6f".to_owned()),
        back_to: None,
    });
    bed.deploy(&Shape::named("newer").env("GREETING", "third"))
        .await;
    let releases = bed.releases("newer").await;
    let states: Vec<_> = releases.iter().map(|one| one.state.word()).collect();
    assert_eq!(states, ["superseded", "failed", "current"]);
    assert_eq!(releases[2].who.as_deref(), Some("ana@build-3"));
    assert_eq!(releases[2].note.commit.as_deref(), Some("1a2b3c4d5e6f"));
    assert!(releases[2].digest().unwrap().starts_with("sha256:"));
    let versions = bed.instances("newer").await.into_iter();
    assert!(
        versions
            .map(|one| one.template_version)
            .all(|version| version == 3)
    );
}
