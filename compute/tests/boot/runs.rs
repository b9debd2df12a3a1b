//! The effect of the script at the first boot, at a second run, and when the container crashes.

use std::process::Command;

use landfall_compute::{ByteSize, CpuShare, Limits};
use landfall_provider::ImageId;
use landfall_testkit::engines::Program;

use crate::scene::{SECRETS, SERVICE, Scene, furnished, until, workload};

fn answers_and_answers_again(program: Program) {
    let scene = Scene::with(program, &[]);
    let image = scene.publish(SERVICE);
    let (workload, environment) = furnished(image);

    let reported = scene.boots(&workload);
    assert!(
        reported.contains("Could not connect") && reported.contains("trying again"),
        "{reported}"
    );
    scene.has_environment(&environment);
    let script = std::fs::read_to_string(scene.path("user-data")).unwrap();
    for text in [&reported, &script] {
        assert!(
            !SECRETS.iter().any(|secret| text.contains(secret)),
            "{text}"
        );
        assert!(!text.contains("ecr-token"), "{text}");
    }

    let first = scene.engine_says(&["inspect", "--format={{.Id}}", "landfall"]);
    scene.boots(&workload);
    let second = scene.engine_says(&["inspect", "--format={{.Id}}", "landfall"]);
    assert_ne!(first, second);
    assert_eq!(
        scene
            .engine_says(&["ps", "--all", "--quiet"])
            .lines()
            .count(),
        1
    );

    let process = scene.process();
    let killed = Command::new("kill")
        .args(["-9", &process.to_string()])
        .status();
    assert!(killed.unwrap().success());
    until("it answers after a crash", || {
        scene.process() != process && scene.answer().as_deref() == Some("hello")
    });
}

#[test]
fn needs_docker_instance_answers_after_reboot_and_crash() {
    answers_and_answers_again(Program::Docker);
}

#[test]
fn needs_podman_and_registry_instance_answers_twice() {
    answers_and_answers_again(Program::Podman);
}

/// The limits reach the container, according to its engine.
#[test]
fn needs_docker_limits_are_the_containers() {
    let scene = Scene::new();
    let mut limited = workload(scene.publish(SERVICE));
    limited.limits = Limits {
        memory: Some(ByteSize::mib(64)),
        cpu: CpuShare::from_thousandths(500),
        processes: Some(50),
        disk: Some(ByteSize::mib(4096)),
    };
    scene.boots(&limited);
    let format =
        "--format={{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}";
    assert_eq!(
        scene.engine_says(&["inspect", format, "landfall"]),
        "67108864 500000000 50"
    );
}

#[test]
fn needs_docker_boot_failure_is_on_the_console() {
    let scene = Scene::new();
    let image = scene.publish("echo no database; exit 3");
    let (why, reported) = scene.fails(&workload(image.clone()));
    assert_eq!(why, "the container failed: it ended with code 3");
    assert!(reported.contains("landfall: | no database"), "{reported}");

    let mut secret = workload(image.clone());
    let reference = "ssm:/digipay/none".parse().unwrap();
    secret.secrets.insert("TOKEN".to_owned(), reference);
    let (why, _) = scene.fails(&secret);
    assert!(
        why.contains("reading the parameter /digipay/none failed"),
        "{why}"
    );

    let (name, _) = image.as_ref().split_once('@').unwrap();
    let missing = format!("{name}@sha256:{}", "00".repeat(32));
    let (why, _) = scene.fails(&workload(ImageId::from(missing)));
    assert!(
        why.contains("pulling") && why.contains("manifest unknown"),
        "{why}"
    );
}
