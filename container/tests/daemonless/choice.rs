//! The choice of a builder: daemonless where the Dockerfile allows it, otherwise an engine.

use std::sync::Mutex;

use landfall_container::{BuildRequest, BuilderChoice, Error, Requirements, Store};

const PLAIN: &str = "FROM scratch\nCOPY app /app\nENTRYPOINT [\"/app\"]\n";
const WITH_RUN: &str = "FROM scratch\nCOPY app /app\nRUN /app --install\nENTRYPOINT [\"/app\"]\n";

fn context(dockerfile: &str) -> (tempfile::TempDir, BuildRequest, Store) {
    let dir = tempfile::tempdir().unwrap();
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("app"), "program").unwrap();
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    (dir, BuildRequest::new(context), store)
}

fn requirements(choice: BuilderChoice, dockerfile: &str) -> Requirements {
    let (_dir, request, _) = context(dockerfile);
    choice.requirements(&request)
}

#[test]
fn requirements_follow_from_the_dockerfile() {
    use BuilderChoice::{Auto, Daemonless, Engine};
    let based = "FROM docker.io/library/busybox\nCMD [\"sh\"]\n";
    let layout = "FROM oci:layout\nCMD [\"sh\"]\n";
    let copied = "FROM scratch\nCOPY --from=busybox:latest /bin /bin\nCMD [\"/bin/sh\"]\n";
    let unused = "FROM busybox AS unused\nRUN true\nFROM scratch\nCMD [\"/app\"]\n";
    let download = "FROM scratch\nADD https://example.com/app /app\nCMD [\"/app\"]\n";
    for (choice, dockerfile, engine, registry) in [
        (Auto, PLAIN, false, false),
        (Auto, WITH_RUN, true, false),
        (Auto, based, false, true),
        (Auto, layout, false, false),
        (Auto, copied, false, true),
        (Auto, unused, false, false),
        (Auto, download, true, false),
        (Engine, PLAIN, true, false),
        (Daemonless, WITH_RUN, false, false),
        (Daemonless, based, false, true),
    ] {
        let found = requirements(choice, dockerfile);
        let found = (found.engine.is_some(), found.registry.is_some());
        assert_eq!(found, (engine, registry), "{choice:?} {dockerfile}");
    }
    let reason = requirements(Auto, WITH_RUN).engine.unwrap();
    assert!(
        reason.contains("Dockerfile:3 needs a container engine: RUN"),
        "{reason}"
    );
}

#[cfg(feature = "engine")]
fn nowhere(dir: &std::path::Path) -> landfall_container::engine::Environment {
    landfall_container::engine::Environment {
        docker_host: Some(format!("unix://{}", dir.join("engine.sock").display())),
        ..Default::default()
    }
}

#[cfg(feature = "engine")]
#[tokio::test]
async fn auto_asks_no_engine_without_a_run() {
    let (dir, request, store) = context(PLAIN);
    let lines = Mutex::new(Vec::new());
    let output = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let builder = BuilderChoice::Auto
        .choose_in(nowhere(dir.path()))
        .await
        .unwrap();
    builder.check(&request).await.unwrap();
    let built = builder.build(&request, &store, &output).await.unwrap();
    assert_eq!(built.builder.as_deref(), Some("daemonless"));
    let lines = lines.into_inner().unwrap();
    assert!(
        !lines.iter().any(|line| line.contains("engine")),
        "{lines:?}"
    );
}

#[cfg(feature = "engine")]
#[tokio::test]
async fn auto_asks_an_engine_for_a_run() {
    let (dir, request, store) = context(WITH_RUN);
    let lines = Mutex::new(Vec::new());
    let output = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let builder = BuilderChoice::Auto
        .choose_in(nowhere(dir.path()))
        .await
        .unwrap();
    let error = builder.build(&request, &store, &output).await.unwrap_err();
    assert!(
        matches!(&error, Error::Dockerfile(error) if error.line == 3),
        "{error}"
    );
    let error = builder.check(&request).await.unwrap_err();
    assert!(
        matches!(&error, Error::Dockerfile(error) if error.line == 3),
        "{error}"
    );
    let socket = dir.path().join("engine.sock");
    let asked = format!("no container engine answers at unix://{}", socket.display());
    assert!(lines.into_inner().unwrap().contains(&asked));

    let error = BuilderChoice::Engine.choose_in(nowhere(dir.path())).await;
    let error = error.err().unwrap();
    assert!(matches!(error, Error::EngineUnavailable { .. }), "{error}");
}

#[cfg(not(feature = "engine"))]
#[tokio::test]
async fn missing_client_for_engines_is_named() {
    let (_dir, request, store) = context(WITH_RUN);
    let builder = BuilderChoice::Auto.choose().await.unwrap();
    let build = builder.build(&request, &store, &|_| {}).await.unwrap_err();
    let check = builder.check(&request).await.unwrap_err();
    let chosen = BuilderChoice::Engine.choose().await.err().unwrap();
    for error in [build, check, chosen] {
        assert!(
            matches!(
                error,
                Error::WithoutFeature {
                    feature: "engine",
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("--features engine"), "{error}");
    }
    let (_dir, request, store) = context(PLAIN);
    let lines = Mutex::new(Vec::new());
    let output = |line: &str| lines.lock().unwrap().push(line.to_owned());
    builder.build(&request, &store, &output).await.unwrap();
}
