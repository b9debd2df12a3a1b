//! Base images from a registry with a password, and an engine that dies during a build.
//!
//! Besides the engine these need `docker-registry` and `busybox` (Debian: `docker-registry`,
//! `busybox-static`).
#![cfg(all(feature = "engine", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod engine_support;

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{
    PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use engine_support::Scene;
use futures::TryStreamExt as _;
use landfall_container::{Error, RegistryCredentials, Secret};
use landfall_testkit::engines::Program;
use landfall_testkit::registry::{self, Registry};

const REGISTRY: &str = registry::ADDRESS;

/// `htpasswd -Bbn digi '~~~???>>>'`: in base64 this password contains every character that differs
/// between the two alphabets.
const PASSWORD: &str = "~~~???>>>";
const HTPASSWD: &str = "digi:$2y$05$1yrVauaE2j6G17HOG2l4ZObL/7bxvmYNFPViq/wo1Ec0Q7/lWt/2i\n";

fn credentials() -> DockerCredentials {
    DockerCredentials {
        username: Some("digi".into()),
        password: Some(PASSWORD.into()),
        serveraddress: Some(REGISTRY.into()),
        ..DockerCredentials::default()
    }
}

/// Pushes an image with one file to the registry, and removes it from the engine.
async fn publish(scene: &Scene) {
    let built = scene
        .build(&scene.request("FROM scratch\nCOPY base /base\nCMD [\"/base\"]\n"))
        .await
        .unwrap();
    let docker = scene.docker();
    let image = scene
        .store
        .find_digest(&built.manifest_digest)
        .unwrap()
        .unwrap();
    assert_eq!(image.layers.len(), 1);
    // The engine has no tag for it any more, so it is loaded under one.
    let layer = std::fs::read(scene.store.blob_path(&image.layers[0].digest)).unwrap();
    let layer = if layer.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::read::GzDecoder::new(layer.as_slice()),
            &mut plain,
        )
        .unwrap();
        plain
    } else {
        layer
    };
    let options = bollard::query_parameters::CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo("loaded")
        .tag("1")
        .build();
    let messages = docker.create_image(Some(options), Some(bollard::body_full(layer.into())), None);
    messages.try_collect::<Vec<_>>().await.unwrap();
    let name = format!("{REGISTRY}/base");
    let tag = TagImageOptionsBuilder::default()
        .repo(&name)
        .tag("1")
        .build();
    docker.tag_image("loaded:1", Some(tag)).await.unwrap();

    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let options = PushImageOptionsBuilder::default().tag("1").build();
        // The library encodes credentials in an alphabet that engines do not read.
        let pushing = docker.clone().with_request_modifier(|mut request| {
            if let Some(value) = request.headers_mut().get_mut("X-Registry-Auth") {
                let text = value.to_str().unwrap().replace('+', "-").replace('/', "_");
                *value = text.parse().unwrap();
            }
            request
        });
        let pushed = pushing.push_image(&name, Some(options), Some(credentials()));
        match pushed.try_collect::<Vec<_>>().await {
            Ok(_) => break,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for name in [format!("{name}:1"), "loaded:1".to_owned()] {
        let options = RemoveImageOptionsBuilder::default().build();
        docker
            .remove_image(&name, Some(options), None)
            .await
            .unwrap();
    }
}

async fn pulls_with_credentials(scene: Scene) {
    let dir = tempfile::tempdir().unwrap();
    let _registry = Registry::start(&scene.private, dir.path(), HTPASSWD).unwrap();
    scene.write("base", "from the registry");
    scene.write("own", "own");
    publish(&scene).await;

    let mut request = scene.request(&format!(
        "ARG TAG\nFROM {REGISTRY}/base:$TAG\nCOPY own /own\nCMD [\"/own\"]\n"
    ));
    request.args.insert("TAG".into(), "1".into());
    let error = scene.build(&request).await.unwrap_err();
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text = format!("{text}: {source}");
    }
    assert!(
        text.contains("/base") && text.contains("no basic auth credentials"),
        "{text}"
    );
    assert!(
        matches!(error, Error::Engine { .. } | Error::BuildFailed { .. }),
        "{error:?}"
    );

    request.credentials.insert(
        REGISTRY.into(),
        RegistryCredentials {
            username: "digi".into(),
            password: Secret::new(PASSWORD),
        },
    );
    let built = scene.build(&request).await.unwrap();
    let files = scene.files(&built);
    assert_eq!(
        files.get("base").map(String::as_str),
        Some("from the registry"),
        "{files:?}"
    );
    assert_eq!(files.get("own").map(String::as_str), Some("own"));
    let pulled = scene.shown().iter().any(|line| line.contains("base"));
    assert!(pulled, "{:?}", scene.shown());
    assert_eq!(scene.containers().await, 0);
    // The base image stays, as after any build; the built one does not.
    let left = scene.images().await;
    assert!(
        left.iter()
            .all(|name| name.contains("base:1") || name.contains("<none>")),
        "{left:?}"
    );
}

#[tokio::test]
async fn needs_docker_buildkit_pulls_with_credentials() {
    pulls_with_credentials(Scene::new(Program::Docker).await).await;
}

#[tokio::test]
async fn needs_docker_classic_pulls_with_credentials() {
    pulls_with_credentials(Scene::classic().await).await;
}

async fn notices_a_crash(mut scene: Scene) {
    let request = scene.request(
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\n\
         RUN echo st''arted && exec /bin/busybox sleep 20\nCMD [\"/bin/sh\"]\n",
    );
    let (engine, store) = (scene.engine.clone(), scene.store.clone());
    let (started, mut starting) = tokio::sync::mpsc::unbounded_channel();
    let build = tokio::spawn(async move {
        let output = |line: &str| {
            if line.contains("started") {
                let _ = started.send(());
            }
        };
        landfall_container::Builder::build(&engine, &request, &store, &output).await
    });
    starting.recv().await.unwrap();
    scene.private.crash();
    let error = tokio::time::timeout(Duration::from_secs(10), build)
        .await
        .expect("the loss is noticed at once")
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, Error::EngineLost { .. }), "{error:?}");
    assert!(scene.engine.ping().await.is_err());
}

#[tokio::test]
async fn needs_docker_buildkit_notices_a_crash() {
    notices_a_crash(Scene::new(Program::Docker).await).await;
}

#[tokio::test]
async fn needs_podman_notices_a_crash() {
    notices_a_crash(Scene::new(Program::Podman).await).await;
}
