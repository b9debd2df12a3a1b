//! An instance without an engine.

use crate::scene::{SERVICE, Scene, workload};

/// The first attempt reaches no mirror, as while the NAT gateway is pending.
const DNF: &str = r#"#!/bin/bash
PATH=/usr/bin:/bin
echo "$*" >>"$SCENE/installed"
if (($(wc -l <"$SCENE/installed") < 2)); then
  echo 'Errors during downloading metadata for repository '\''amazonlinux'\'':' >&2
  echo '  - Curl error (28): Timeout was reached for https://al2023-repos-ap-south-1.s3.amazonaws.com/mirror.list' >&2
  exit 1
fi
mv "$SCENE/docker" "$SCENE/bin/docker"
"#;

#[test]
fn needs_docker_engine_is_installed_once_possible() {
    let scene = Scene::new();
    let image = scene.publish(SERVICE);
    std::fs::rename(scene.path("bin/docker"), scene.path("docker")).unwrap();
    scene.install("dnf", DNF);
    let reported = scene.boots(&workload(image));
    assert!(
        reported
            .contains("installing docker failed, trying again in 1 s: Errors during downloading"),
        "{reported}"
    );
    let installed = std::fs::read_to_string(scene.path("installed")).unwrap();
    assert_eq!(
        installed.lines().collect::<Vec<_>>(),
        ["install --assumeyes --quiet docker"; 2]
    );
}

#[test]
fn needs_docker_failed_engine_install_is_on_the_console() {
    let scene = Scene::new();
    let image = scene.publish(SERVICE);
    std::fs::remove_file(scene.path("bin/docker")).unwrap();
    let (why, _) = scene.fails(&workload(image));
    assert_eq!(
        why,
        "there is no docker, no podman, and no dnf to install one with"
    );
}
