//! The commands that run first, as real processes.

use std::path::Path;
use std::time::{Duration, Instant};

use landfall_pipeline::{Commands, Config, PostFailureState, Stage, deploy, plan};
use landfall_provider::{Event, Events};

use crate::fake::{App, Fake, healthy};

fn config(app: &App, commands: &[&str]) -> Config {
    let mut config = app.config("");
    let web = config.service.values_mut().next().unwrap();
    web.image.before = Commands(commands.iter().map(ToString::to_string).collect());
    config
}

#[tokio::test]
async fn commands_run_in_order_in_the_files_directory() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let config = config(
        &app,
        &[
            "echo one > made; cat made",
            "echo two >&2; cat made Dockerfile",
        ],
    );
    plan(&cloud, &config, &app.options).await.unwrap();
    let reported = app.reported("image/web");
    assert_eq!(reported, ["| one", "| two", "| one", "| FROM scratch"]);
    assert!(app.path().join("made").exists());
}

#[tokio::test]
async fn what_they_make_decides_what_the_image_is_made_from() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let source = async |command: &str| {
        let plan = plan(&cloud, &config(&app, &[command]), &app.options)
            .await
            .unwrap();
        let image = plan
            .plan
            .steps
            .iter()
            .find(|step| step.key.to_string() == "image/web")
            .unwrap();
        serde_json::to_value(&image.action).unwrap()["create"]["desired"]["source"].clone()
    };
    let one = source("echo 1 > binary").await;
    assert!(one.is_string());
    assert_eq!(one, source("echo 1 > binary").await);
    assert_ne!(one, source("echo 2 > binary").await);
}

#[tokio::test]
async fn one_that_fails_ends_the_deploy_with_its_last_lines() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let config = config(
        &app,
        &[
            "for n in $(seq 30); do echo line $n; done; echo no such crate >&2; exit 101",
            "touch next",
        ],
    );
    let failure = deploy(&cloud, &config, &app.options).await.unwrap_err();
    assert_eq!(
        (failure.stage, &failure.remains),
        (Stage::Before, &PostFailureState::Unchanged)
    );
    assert!(
        failure
            .message
            .ends_with("exit 101` failed with exit code 101"),
        "{failure}"
    );
    assert!(
        failure
            .hint
            .as_deref()
            .unwrap()
            .contains(&app.path().display().to_string())
    );
    assert_eq!(failure.output.len(), 20);
    assert_eq!(failure.output[0], "line 12");
    assert_eq!(failure.output[19], "no such crate");
    assert!(!app.path().join("next").exists());
    assert_eq!(cloud.effects(), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_is_not_there_is_told_by_the_shell() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let failure = deploy(
        &cloud,
        &config(&app, &["no-such-program --x"]),
        &app.options,
    )
    .await
    .unwrap_err();
    assert_eq!(
        failure.message,
        "`no-such-program --x` failed with exit code 127"
    );
    assert!(
        failure.output[0].contains("not found"),
        "{:?}",
        failure.output
    );
}

#[tokio::test]
async fn orphaned_child_does_not_block_the_deploy() {
    let (cloud, app) = (Fake::new(healthy), App::new());
    let began = Instant::now();
    plan(
        &cloud,
        &config(&app, &["sleep 60 & echo $! > child"]),
        &app.options,
    )
    .await
    .unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    let child = std::fs::read_to_string(app.path().join("child")).unwrap();
    // It was meant to stay, but not here.
    std::process::Command::new("sh")
        .args(["-c", "kill \"$0\"", child.trim()])
        .status()
        .unwrap();
}

fn is_alive(pid: &str) -> bool {
    // A process that has ended and is not yet waited for is not alive.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_interruption_ends_it_and_all_that_it_has_started() {
    let (cloud, mut app) = (Fake::new(healthy), App::new());
    let stop = app.options.apply.stop.clone();
    app.options.apply.events = Events::to(move |event| {
        if matches!(event, Event::Output { line, .. } if line == "ready") {
            stop.cancel();
        }
    });
    let command = "sleep 600 & echo $! > child; echo ready; wait; touch next";
    let began = Instant::now();
    let failure = deploy(&cloud, &config(&app, &[command]), &app.options)
        .await
        .unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        (failure.stage, &failure.remains),
        (Stage::Interrupted, &PostFailureState::Unchanged)
    );
    let child = std::fs::read_to_string(app.path().join("child")).unwrap();
    while is_alive(child.trim()) {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{child} is still there"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!app.path().join("next").exists());
    assert_eq!(cloud.effects(), Vec::<String>::new());
}
