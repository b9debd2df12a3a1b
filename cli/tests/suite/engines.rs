//! The same Dockerfile through Docker's engine and through Podman's socket, then deployed.

use landfall_testkit::engines::{PrivateEngine, Program};

use crate::support::{Project, Ran, get};

/// A service with a greeting that a build step has written.
fn dockerfile(greeting: &str) -> String {
    format!(
        "FROM scratch AS build\n\
         COPY busybox /bin/sh\n\
         RUN echo 'GREETING={greeting} exec /service' > /start\n\
         \n\
         FROM scratch\n\
         COPY busybox /bin/sh\n\
         COPY --from=build /start /start\n\
         COPY service /service\n\
         ENTRYPOINT [\"/bin/sh\", \"/start\"]\n"
    )
}

fn file(stack: &str, builder: &str) -> String {
    format!(
        "stack = \"{stack}\"\n\n[service.web]\nport = 8000\nimage = {{ builder = \"{builder}\" }}\n"
    )
}

/// Runs the program with an engine. The engine has its own namespaces, the program does not.
fn with_engine(project: &Project, engine: &PrivateEngine, args: &[&str], buildkit: &str) -> Ran {
    let mut command = project.command(args);
    command
        .env("DOCKER_HOST", engine.docker_host())
        .env("DOCKER_BUILDKIT", buildkit);
    command.output().unwrap().into()
}

fn built_and_deployed(program: Program, stack: &str, buildkit: &str) {
    let engine = program.start().unwrap_or_else(|reason| panic!("{reason}"));
    let project = Project::with_service(&file(stack, "engine"));
    let landfall = |args: &[&str]| with_engine(&project, &engine, args, buildkit);
    std::fs::copy("/bin/busybox", project.directory().join("busybox"))
        .expect("/bin/busybox is there (Debian: apt-get install busybox-static)");
    project.write(".dockerignore", "*\n!service\n!busybox\n");

    // An engine could build this, and the image would have no command.
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY busybox /bin/sh\nRUN echo x > /x\n",
    );
    let refused = landfall(&["deploy"]).ended_with(2).saying(&[
        "Dockerfile:1",
        "ENTRYPOINT",
        "nothing was changed",
    ]);
    assert!(!refused.stderr.contains("created "), "{refused:#?}");

    for builder in ["engine", "auto"] {
        let greeting = format!("written-by-a-step-for-{builder}");
        project.write("landfall.toml", &file(stack, builder));
        project.write("Dockerfile", &dockerfile(&greeting));
        let deployed = landfall(&["deploy"])
            .ended_with(0)
            .saying(&["RUN echo 'GREETING="]);
        for _ in 0..2 {
            let (status, body) = get(deployed.stdout.trim_end(), "/").unwrap();
            assert_eq!(status, 200, "{body}");
            assert!(body.trim_end().ends_with(&greeting), "{body}");
        }
        landfall(&["deploy"])
            .ended_with(0)
            .saying(&["nothing to do"]);
        landfall(&["destroy", "--yes"]).ended_with(0);
        project.nothing_is_left();
    }
}

#[test]
fn needs_docker_buildkit_builds_what_is_deployed() {
    built_and_deployed(Program::Docker, "shop-buildkit", "1");
}

#[test]
fn needs_docker_classic_builds_what_is_deployed() {
    built_and_deployed(Program::Docker, "shop-classic", "0");
}

#[test]
fn needs_podman_builds_what_is_deployed() {
    built_and_deployed(Program::Podman, "shop-podman", "1");
}
