//! The choice of a builder without an engine.

use std::sync::Mutex;

use landfall_container::{BuilderChoice, Error};

#[cfg(feature = "engine")]
#[tokio::test]
async fn auto_does_without_an_engine_and_says_so() {
    use landfall_container::engine::Environment;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("engine.sock");
    let environment = Environment {
        docker_host: Some(format!("unix://{}", socket.display())),
        ..Environment::default()
    };
    let lines = Mutex::new(Vec::new());
    let output = |line: &str| lines.lock().unwrap().push(line.to_owned());

    let builder = BuilderChoice::Auto
        .choose_in(&environment, &output)
        .await
        .unwrap();
    assert_eq!(builder.name(), "daemonless");
    let said = std::mem::take(&mut *lines.lock().unwrap());
    assert_eq!(
        said,
        [format!(
            "building without a container engine: none answers at unix://{}",
            socket.display()
        )]
    );

    let builder = BuilderChoice::Daemonless
        .choose_in(&environment, &output)
        .await
        .unwrap();
    assert_eq!(builder.name(), "daemonless");
    assert!(lines.lock().unwrap().is_empty(), "nothing was looked for");

    let error = BuilderChoice::Engine
        .choose_in(&environment, &output)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::EngineUnavailable { .. }), "{error}");
}

#[cfg(not(feature = "engine"))]
#[tokio::test]
async fn without_a_client_for_engines_there_is_only_one_choice() {
    let lines = Mutex::new(Vec::new());
    let output = |line: &str| lines.lock().unwrap().push(line.to_owned());
    let builder = BuilderChoice::Auto.choose(&output).await.unwrap();
    assert_eq!(builder.name(), "daemonless");
    assert_eq!(lines.lock().unwrap().len(), 1);
    let error = BuilderChoice::Engine.choose(&output).await.err().unwrap();
    assert!(matches!(error, Error::EngineUnavailable { .. }), "{error}");
}
