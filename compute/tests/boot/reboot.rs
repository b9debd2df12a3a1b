//! An instance that reboots, without a network and without the script.

use landfall_testkit::engines::{Down, Program};

use crate::scene::{SERVICE, Scene, furnished, until};

fn answers_after_reboots(program: Program, ways: &[Down]) {
    let mut scene = Scene::with(program, &[]);
    let image = scene.publish(SERVICE);
    let (workload, environment) = furnished(image);
    scene.boots(&workload);
    let asked = scene.asked();
    for &down in ways {
        let before = scene.engine_says(&["inspect", "--format={{.Id}}", "landfall"]);
        let process = scene.process();
        scene.reboot(down);
        until("it answers after a reboot", || {
            scene.answer().as_deref() == Some("hello")
        });
        let after = scene.engine_says(&["inspect", "--format={{.Id}}", "landfall"]);
        assert_eq!(before, after, "{down:?}");
        assert_ne!(process, scene.process(), "{down:?}");
        scene.has_environment(&environment);
        assert_eq!(scene.asked(), asked, "{down:?}");
    }

    // Cloud-init runs user data once in an instance's life; a second run must do no harm.
    scene.reconnect();
    scene.boots(&workload);
    scene.has_environment(&environment);
}

#[test]
fn needs_docker_an_instance_answers_after_reboots() {
    answers_after_reboots(Program::Docker, &[Down::InOrder, Down::PowerCut]);
}

#[test]
fn needs_podman_and_registry_an_instance_answers_after_reboots() {
    answers_after_reboots(Program::Podman, &[Down::PowerCut]);
}
