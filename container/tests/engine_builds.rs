//! The same builds through Docker's BuildKit, Docker's classic builder, and Podman: real engines.
#![cfg(all(feature = "engine", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod engine_support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use engine_support::Scene;
use landfall_container::engine::Kind;
use landfall_container::{Builder as _, Error};
use landfall_testkit::engines::Program;

/// Two needed stages and an unneeded one, a RUN step, an argument, and the settings of a service.
const SERVICE: &str = "\
FROM scratch AS build
COPY busybox /bin/sh
ARG GREETING=hello
RUN echo \"$GREETING from $(echo a step)\" > /greeting

FROM scratch AS service
COPY --from=build /greeting /srv/greeting
COPY notes /srv/notes
ENV PORT=8000
ENTRYPOINT [\"/srv/greeting\"]

FROM service AS debug
COPY busybox /bin/sh
";

async fn builds(scene: Scene, builder: &str, buildkit: bool) {
    assert_eq!(scene.engine.name(), builder);
    assert_eq!(scene.engine.uses_buildkit(), buildkit);
    scene.engine.ping().await.unwrap();
    scene.write("notes/kept.txt", "kept");
    scene.write("notes/secret.key", "secret");
    scene.write(".dockerignore", "**/*.key\n");
    let mut request = scene.request(SERVICE);
    request
        .args
        .insert("GREETING".into(), "good \"morning\" & more".into());
    request.target = Some("service".into());

    let built = scene.build(&request).await.unwrap();
    assert_eq!(built.builder.as_deref(), Some(builder));
    assert_eq!(built.source, request.identity().unwrap());
    let files = scene.files(&built);
    assert_eq!(
        files.into_iter().collect::<Vec<_>>(),
        [
            (
                "srv/greeting".to_owned(),
                "good \"morning\" & more from a step\n".to_owned()
            ),
            ("srv/notes/kept.txt".to_owned(), "kept".to_owned()),
        ]
    );
    let image = scene.store.find(&built.source).unwrap().unwrap();
    assert_eq!(image.manifest_digest, built.manifest_digest);
    assert_eq!(image.platform, request.platform);
    let config = scene.store.config(&built.config_digest).unwrap();
    let config = serde_json::to_value(&config).unwrap();
    assert_eq!(
        config["config"]["Entrypoint"],
        serde_json::json!(["/srv/greeting"])
    );
    assert!(
        config["config"]["Env"].to_string().contains("PORT=8000"),
        "{config}"
    );
    let shown = scene.shown().join("\n");
    assert!(
        shown.contains("COPY --from=build /greeting /srv/greeting"),
        "{shown}"
    );
    assert!(!shown.contains("landfall-build"), "{shown}");

    // A second build: the engine has cached the steps, and returns the same image.
    let again = scene.build(&request).await.unwrap();
    assert_eq!(again.config_digest, built.config_digest);
    assert_eq!(again.manifest_digest, built.manifest_digest);

    assert_eq!(scene.containers().await, 0);
    let left = scene.images().await;
    if buildkit {
        assert!(left.is_empty(), "{left:?}");
    } else {
        // The cache of these builders: untagged images.
        assert!(left.iter().all(|name| name.contains("<none>")), "{left:?}");
    }
}

#[tokio::test]
async fn needs_docker_buildkit_builds() {
    builds(Scene::new(Program::Docker).await, "docker", true).await;
}

#[tokio::test]
async fn needs_docker_classic_builds() {
    builds(Scene::classic().await, "docker", false).await;
}

#[tokio::test]
async fn needs_podman_builds() {
    let scene = Scene::new(Program::Podman).await;
    assert_eq!(scene.engine.kind(), Kind::Podman);
    builds(scene, "podman", false).await;
}

/// The line after the comment fails, with output on both streams.
const FAILING: &str = "\
FROM scratch
COPY busybox /bin/sh
ARG WHO=nobody
# the next one fails
RUN echo \"hello $WHO\" && \\
    for i in 0 1 2 3 4 5 6 7 8 9; do echo one $i; echo two $i; echo three $i; echo four $i; done >&2 && \\
    echo \"what went wrong\" >&2 && exit 3
CMD [\"/bin/sh\"]
";

async fn shows_the_failing_step(scene: Scene) {
    let mut request = scene.request(FAILING);
    request.args.insert("WHO".into(), "you".into());
    let error = scene.build(&request).await.unwrap_err();
    let Error::BuildFailed {
        step: Some(step),
        message,
        output,
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(step.text.starts_with("RUN echo \"hello "), "{step:?}");
    assert_eq!(step.at, Some((request.dockerfile_path(), 5)));
    assert!(
        message.ends_with(": 3") || message.ends_with(" 3"),
        "{message}"
    );
    assert_eq!(output.len(), 30);
    assert!(
        output.iter().any(|line| line == "what went wrong"),
        "{output:?}"
    );
    assert!(output.iter().any(|line| line == "four 9"), "{output:?}");
    let text = error.to_string();
    assert!(
        text.contains("Dockerfile:5") && text.contains("\n  | what went wrong"),
        "{text}"
    );
    assert!(
        scene.shown().iter().any(|line| line.ends_with("hello you")),
        "{:?}",
        scene.shown()
    );

    assert!(scene.store.list().unwrap().is_empty());
    assert_eq!(scene.containers().await, 0);
    let left = scene.images().await;
    assert!(left.iter().all(|name| name.contains("<none>")), "{left:?}");

    // A build that the engine refuses to start.
    let error = scene
        .build(&scene.request("FROM scratch\nFORM x\n"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::BuildFailed { .. }), "{error:?}");
    assert!(error.to_string().to_lowercase().contains("form"), "{error}");
    let mut request = scene.request("FROM scratch AS a\nCOPY busybox /x\n");
    request.target = Some("missing".into());
    let error = scene.build(&request).await.unwrap_err();
    assert!(matches!(error, Error::BuildFailed { .. }), "{error:?}");
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn needs_docker_buildkit_shows_the_failing_step() {
    shows_the_failing_step(Scene::new(Program::Docker).await).await;
}

#[tokio::test]
async fn needs_docker_classic_shows_the_failing_step() {
    shows_the_failing_step(Scene::classic().await).await;
}

#[tokio::test]
async fn needs_podman_shows_the_failing_step() {
    shows_the_failing_step(Scene::new(Program::Podman).await).await;
}

/// The time at which a line with `text` was emitted.
fn when(scene: &Scene, text: &str) -> Option<Instant> {
    let lines = scene.lines.lock().unwrap();
    let found = lines.iter().find(|(_, line)| line.contains(text));
    found.map(|(when, _)| *when)
}

/// Prints a line, works for three seconds, then prints another.
const SLOW: &str = "\
FROM scratch
COPY busybox /bin/sh
COPY busybox /bin/busybox
RUN echo fir''st && /bin/busybox sleep 3 && echo sec''ond
CMD [\"/bin/sh\"]
";

async fn shows_output_while_it_builds(scene: Scene) {
    scene.build(&scene.request(SLOW)).await.unwrap();
    let (first, second) = (when(&scene, "first"), when(&scene, "second"));
    let between = second.unwrap().duration_since(first.unwrap());
    assert!(
        between > Duration::from_secs(2),
        "{between:?}: {:?}",
        scene.shown()
    );
}

#[tokio::test]
async fn needs_docker_buildkit_shows_output_while_it_builds() {
    shows_output_while_it_builds(Scene::new(Program::Docker).await).await;
}

#[tokio::test]
async fn needs_docker_classic_shows_output_while_it_builds() {
    shows_output_while_it_builds(Scene::classic().await).await;
}

#[tokio::test]
async fn needs_podman_shows_output_while_it_builds() {
    shows_output_while_it_builds(Scene::new(Program::Podman).await).await;
}

/// The duration of the sleep in [`leaves_nothing_when_given_up`]: `seconds`, plus a small fraction
/// that distinguishes its process from those of other tests.
fn nap(seconds: u32) -> (String, String) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    (
        seconds.to_string(),
        format!("0.0{}{count}", std::process::id()),
    )
}

/// Whether the step's process exists. It is visible on this machine like any other.
fn is_sleeping((seconds, more): &(String, String)) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let wanted = format!("/bin/busybox\0sleep\0{seconds}\0{more}\0");
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|command| command == wanted.as_bytes())
}

async fn leaves_nothing_when_given_up(scene: Scene, seconds: u32) {
    let nap = nap(seconds);
    let request = scene.request(&format!(
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\n\
         RUN echo st''arted && /bin/busybox sleep {} {}\n\
         RUN echo never > /never\nCMD [\"/bin/sh\"]\n",
        nap.0, nap.1
    ));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    {
        let build = scene.build(&request);
        let started = async {
            while !(when(&scene, "started").is_some() && is_sleeping(&nap)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = build => panic!("{ended:?}"),
            () = started => {}
            () = tokio::time::sleep_until(deadline) => panic!("{:?}", scene.shown()),
        }
    }
    // The future has been dropped, and the engine notices.
    loop {
        let images = scene.images().await;
        let named = images.iter().any(|name| !name.contains("<none>"));
        let containers = scene.containers().await;
        if !named && containers == 0 && !is_sleeping(&nap) {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{images:?}, {containers} containers, sleeping: {}",
            is_sleeping(&nap)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(scene.store.list().unwrap().is_empty());
}

#[tokio::test]
async fn needs_docker_buildkit_leaves_nothing_when_given_up() {
    leaves_nothing_when_given_up(Scene::new(Program::Docker).await, 4242).await;
}

#[tokio::test]
async fn needs_docker_classic_leaves_nothing_when_given_up() {
    leaves_nothing_when_given_up(Scene::classic().await, 4242).await;
}

#[tokio::test]
async fn needs_podman_leaves_nothing_when_given_up() {
    // Podman finishes the running step, and starts no other.
    leaves_nothing_when_given_up(Scene::new(Program::Podman).await, 4).await;
}
