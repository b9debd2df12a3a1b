//! Secrets on this machine, and environments: values reach the container, and appear nowhere else.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Project, Ran, get};

const FILE: &str = "stack = \"vault\"
[service.web]
port = 8000
scale = { desired = 1 }
env = { MODE = \"well\" }
secrets = { GREETING = \"ssm:/vault/greeting\", OTHER = \"secretsmanager:vault/other#key\" }
log-group = \"/vault/web\"
";

const VALUE: &str = "fidelio-4711";
const OTHER: &str = "rosebud-0815";

fn with_secrets(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command(args);
    command.env(
        "LANDFALL_SECRETS",
        project.directory().join("../secrets.toml"),
    );
    command
}

/// Every readable file in a directory.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let facts = entry.file_type().unwrap();
        match facts.is_dir() {
            true => files(&entry.path(), found),
            false if facts.is_file() => found.push(entry.path()),
            false => {}
        }
    }
}

#[test]
fn a_secret_reaches_the_container_and_nothing_else() {
    let project = Project::with_service(FILE);
    let run = |args: &[&str]| -> Ran { with_secrets(&project, args).output().unwrap().into() };
    let secrets = project.directory().join("../secrets.toml");

    // All missing secrets are reported at once, before anything is created.
    let missing = run(&["deploy"]).ended_with(1).saying(&[
        "GREETING = \"ssm:/vault/greeting\" has no value on this machine",
        "OTHER = \"secretsmanager:vault/other#key\" has no value on this machine",
        "secrets.toml",
        "LANDFALL_SECRET_GREETING",
        "for 2 reasons",
    ]);
    assert_eq!(missing.stdout, "");
    project.nothing_is_left();

    // A file that others can read is refused.
    let text = format!(
        "\"ssm:/vault/greeting\" = '{VALUE}'\n\"secretsmanager:vault/other\" = '{{\"key\": \"{OTHER}\"}}'\n"
    );
    std::fs::write(&secrets, text).unwrap();
    std::fs::set_permissions(&secrets, Permissions::from_mode(0o644)).unwrap();
    let refused = run(&["deploy"])
        .ended_with(1)
        .saying(&["its mode is 644", "chmod 600"]);
    assert!(!refused.stderr.contains(VALUE), "{refused:#?}");
    std::fs::set_permissions(&secrets, Permissions::from_mode(0o600)).unwrap();

    let mut shown = vec![run(&["plan", "--json"]).ended_with(0)];
    let saved = ["plan", "--out", "kept.plan"];
    shown.push(run(&saved).ended_with(0));
    let deployed = run(&["deploy", "--json"]).ended_with(0);
    let url = deployed.json()["url"].as_str().unwrap().to_owned();
    shown.push(deployed);
    let (status, body) = get(&url, "/").unwrap();
    assert_eq!(status, 200);
    assert!(body.contains(VALUE), "the container has it: {body}");

    // A changed value of an environment variable: new instances have the new one.
    let changed = FILE.replace("\"well\"", "\"well\", STEP = \"2\"");
    project.write("landfall.toml", &changed);
    let mut command = with_secrets(&project, &["deploy"]);
    command.env("LANDFALL_SECRET_GREETING", "florestan-1805");
    shown.push(Ran::from(command.output().unwrap()).ended_with(0));
    let (_, body) = get(&url, "/").unwrap();
    assert!(body.contains("florestan-1805"), "{body}");
    // A secret's value alone is not a change in the plan.
    shown.push(run(&["deploy"]).ended_with(0).saying(&["nothing to do"]));
    shown.push(run(&["status", "--json"]).ended_with(0));
    shown.push(run(&["status"]).ended_with(0));

    // The value is in no output, in no written file, and not in the cloud's environment.
    let mut written = Vec::new();
    files(&project.runtime_dir(), &mut written);
    written.push(project.directory().join("kept.plan"));
    assert!(
        written.iter().any(|file| file.ends_with("cloud.log")),
        "{written:?}"
    );
    let mut texts: Vec<(String, Vec<u8>)> = written
        .into_iter()
        .map(|file| (file.display().to_string(), std::fs::read(&file).unwrap()))
        .collect();
    for process in project.processes() {
        let (proc, line) = process.split_once(' ').unwrap();
        if line.contains("landfall") {
            let environ = std::fs::read(format!("{proc}/environ")).unwrap_or_default();
            texts.push((
                process.clone(),
                [environ, line.as_bytes().to_vec()].concat(),
            ));
        }
    }
    for ran in &shown {
        texts.push((format!("{ran:?}"), format!("{ran:?}").into_bytes()));
    }
    for (what, text) in &texts {
        for value in [VALUE, OTHER, "florestan-1805"] {
            assert!(
                !text
                    .windows(value.len())
                    .any(|part| part == value.as_bytes()),
                "{value} stands in {what}"
            );
        }
    }
    run(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn an_environment_is_a_stack_of_its_own() {
    let file = "stack = \"shop\"
[service.web]
port = 8000
scale = { desired = 1 }
env = { GREETING = \"for-all\" }

[env.staging.service.web]
env = { GREETING = \"staging\" }
";
    let project = Project::with_service(file);
    let staging = project
        .landfall(&["deploy", "--env", "staging"])
        .ended_with(0)
        .stdout;
    assert!(
        staging.starts_with("http://shop-staging.localhost:"),
        "{staging}"
    );
    let both = project.landfall(&["deploy"]).ended_with(0).stdout;
    assert!(both.starts_with("http://shop.localhost:"), "{both}");
    for (url, greeting) in [(&staging, "staging"), (&both, "for-all")] {
        let (_, body) = get(url.trim_end(), "/").unwrap();
        assert!(body.trim_end().ends_with(greeting), "{body}");
    }

    let unknown = project.landfall(&["plan", "--env", "stagin"]).ended_with(2);
    unknown.saying(&["landfall.toml:7:2", "did you mean `staging`?"]);
    let both = ["destroy", "--stack", "shop", "--env", "staging", "--yes"];
    project.landfall(&both).ended_with(2).saying(&["--env"]);

    let mut status = project.command(&["status"]);
    status.env("LANDFALL_ENV", "staging");
    let status = Ran::from(status.output().unwrap()).ended_with(0);
    assert!(status.stdout.contains("shop-staging"), "{status:#?}");
    for environment in [
        &["destroy", "--yes"][..],
        &["destroy", "--env", "staging", "--yes"],
    ] {
        project.landfall(environment).ended_with(0);
    }
    project.nothing_is_left();
}
