//! User files that are not regular files, have no end, or repeat a line a hundred thousand times.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Ran;
use crate::support::Project;

/// Two seconds in a release build; ten in a build without optimisation, on a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

const FILE: &str = "stack = \"files\"\n\n[service.web]\nport = 8000\n";

/// The program's short and quick answer to a hostile file.
#[track_caller]
fn answered(command: &mut Command) -> Ran {
    let began = Instant::now();
    let ran: Ran = command.output().unwrap().into();
    assert!(began.elapsed() < ANSWERED_WITHIN, "{:?}", began.elapsed());
    assert!(ran.stderr.len() < 20_000, "{} bytes", ran.stderr.len());
    ran
}

#[track_caller]
fn refused(project: &Project, args: &[&str], code: i32, parts: &[&str]) {
    answered(&mut project.command(args))
        .ended_with(code)
        .saying(parts);
}

/// Replaces a file by a FIFO, a directory, a device, or a file of a gigabyte.
fn replace(path: &Path, with: &str) {
    match path.is_dir() {
        true => std::fs::remove_dir(path).unwrap(),
        false => drop(std::fs::remove_file(path)),
    }
    match with {
        "a FIFO" => nix_fifo(path),
        "a directory" => std::fs::create_dir(path).unwrap(),
        "a device" => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        _ => File::create(path).unwrap().set_len(1 << 30).unwrap(),
    }
}

fn nix_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

const KINDS: [(&str, &str); 4] = [
    ("a FIFO", "it is a pipe"),
    ("a directory", "it is a directory"),
    ("a device", "it is a device"),
    ("a gigabyte", "1073741824 bytes"),
];

#[test]
fn landfall_toml_that_is_no_file() {
    let project = Project::new(FILE);
    for (kind, why) in KINDS {
        replace(&project.directory().join("landfall.toml"), kind);
        refused(&project, &["plan"], 2, &[why, "nothing was changed"]);
        refused(&project, &["status"], 2, &[why]);
    }
}

#[test]
fn dockerfile_that_is_no_file() {
    let project = Project::new(FILE);
    for (kind, why) in KINDS {
        replace(&project.directory().join("Dockerfile"), kind);
        refused(&project, &["plan"], 2, &[why]);
    }
    project.nothing_is_left();
}

#[test]
fn dockerignore_that_is_no_file() {
    let project = Project::new(FILE);
    for (kind, why) in KINDS {
        replace(&project.directory().join(".dockerignore"), kind);
        refused(&project, &["plan"], 2, &[why]);
    }
}

#[test]
fn saved_plan_that_is_no_file() {
    let project = Project::new(FILE);
    let plan = project.directory().join("saved.plan");
    for (kind, why) in KINDS {
        replace(&plan, kind);
        refused(&project, &["deploy", "--plan", "saved.plan"], 2, &[why]);
    }
    std::fs::remove_file(&plan).unwrap();
    project.write("saved.plan", &"[".repeat(1 << 20));
    let why = "no saved plan";
    refused(&project, &["deploy", "--plan", "saved.plan"], 2, &[why]);
}

#[test]
fn secrets_that_are_no_file() {
    let file = format!("{FILE}secrets = {{ KEY = \"ssm:/files/key\" }}\n");
    let project = Project::new(&file);
    let secrets = project.directory().join("../secrets.toml");
    for (kind, why) in KINDS {
        replace(&secrets, kind);
        if kind == "a gigabyte" {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&secrets, mode).unwrap();
        }
        let mut command = project.command(&["deploy"]);
        command.env("LANDFALL_SECRETS", &secrets);
        answered(&mut command).ended_with(1).saying(&[why]);
        project.nothing_is_left();
    }
}

#[test]
fn more_services_or_environments_than_a_file_has() {
    let project = Project::new(FILE);
    for (table, keys) in [
        ("service.s", "port = 80\nbogus = 1"),
        ("env.e", "protect = true"),
    ] {
        let tables: String = (0..20_000)
            .map(|n| format!("[{table}{n}]\n{keys}\n"))
            .collect();
        project.write("landfall.toml", &format!("stack = \"many\"\n{tables}"));
        refused(
            &project,
            &["plan"],
            2,
            &["there are 20000 tables", "a file has at most 100"],
        );
    }
}

#[test]
fn many_faults_are_counted_and_the_first_told() {
    let many: String = (0..100_000).map(|n| format!("key{n} = {n}\n")).collect();
    let project = Project::new(&format!("{many}{FILE}"));
    let parts = [
        "landfall.toml:1:1:",
        "`key0`",
        "`key19`",
        "and 99980 more",
        "100000 errors",
    ];
    refused(&project, &["plan"], 2, &parts);
    let ran = answered(&mut project.command(&["plan", "--json"])).ended_with(2);
    assert_eq!(ran.json()["faults"].as_array().unwrap().len(), 20);
    assert_eq!(ran.json()["message"], "100000 errors in landfall.toml");
}

#[test]
fn hostile_toml_is_refused_soon() {
    let long = "k".repeat(1 << 20);
    let deep = "[".repeat(1 << 20);
    let dotted = "a.".repeat(1 << 19);
    let table = format!("[{}]\n", vec!["a"; 100_000].join("."));
    for (text, why) in [
        (format!("{long} = 1\n{FILE}"), "unknown key"),
        (format!("{FILE}{deep}"), "this is not TOML"),
        (format!("a = {deep}"), "this is not TOML"),
        (format!("{dotted}a = 1"), "this is not TOML"),
        (table, "this is not TOML"),
        (format!("stack = \"{long}\"\n"), "would do"),
    ] {
        let project = Project::new(&text);
        refused(&project, &["plan"], 2, &[why]);
    }
}

#[test]
fn doubled_variables_end_at_their_bound() {
    let project = Project::new(FILE);
    let doublings = "ENV X=$X$X\n".repeat(40);
    let dockerfile = format!("FROM scratch\nENV X=xx\n{doublings}ENTRYPOINT [\"/nothing\"]\n");
    project.write("Dockerfile", &dockerfile);
    let parts = ["expands to more than 128 KiB", "Dockerfile:"];
    refused(&project, &["deploy"], 2, &parts);
    project.nothing_is_left();
}
