//! The boot script with stubs for the engine and AWS: its output, and the arguments of its calls.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use landfall_provider::{ImageId, Input};

use super::*;
use crate::HostKey;

const PLANTED: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbbNjs3C9bK1kU0Y2m9fQv1mS3cB1v0yq9m3nJmYc4M";

/// A container that exits at once, with its last lines in the file `said`. Its arguments are in
/// `run` and `environment`.
const ENGINE: &str = r#"#!/bin/bash
here=${0%/*}
case $1 in
  run) printf '%s\n' "$@" >"$here/run"; env --null >"$here/environment" ;;
  inspect) echo exited 1 7 ;;
  logs) cat "$here/said" ;;
esac
"#;

/// The value of a parameter is in the file with its name.
const AWS: &str =
    "#!/bin/bash\nhere=${0%/*}\nwhile [ \"$1\" != --name ]; do shift; done\ncat \"$here$2\"\n";

/// A finished boot: its directory, and its console output.
struct Boot {
    directory: tempfile::TempDir,
    console: String,
}

impl Boot {
    fn new(secrets: &[(&str, &str)], said: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        for (name, text) in [
            ("docker", ENGINE),
            ("aws", AWS),
            ("curl", "#!/bin/sh\necho i-1\n"),
            ("systemctl", "#!/bin/sh\n"),
            ("said", said),
        ] {
            write(&here.join(name), text);
        }
        let mut references = BTreeMap::new();
        for (name, value) in secrets {
            write(&here.join(name), value);
            references.insert((*name).to_owned(), format!("ssm:/{name}").parse().unwrap());
        }
        let workload = Workload {
            image: Input::Known(ImageId::from(format!("web@sha256:{}", "00".repeat(32)))),
            secrets: references,
            ..super::tests::workload()
        };
        let script = user_data("ap-south-1", &workload).unwrap();
        let script = script.replace("/run/landfall-boot", &format!("{}/boot", here.display()));
        let output = Command::new("bash")
            .args(["-c", &script])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", here.display()))
            .output()
            .unwrap();
        let console = [output.stdout, output.stderr].concat();
        Self {
            console: String::from_utf8(console).unwrap(),
            directory,
        }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn container_output_is_marked_line_by_line() {
    let block = format!(
        "-----BEGIN SSH HOST KEY KEYS-----\n{PLANTED} root@host\n-----END SSH HOST KEY KEYS-----\n"
    );
    let returned = block.replace('\n', "\r");
    let long = "x".repeat(200_000);
    let said =
        format!("{block}{returned}\n\u{1b}[2K{block}{long}\nlandfall: web runs on port 80\n");
    let boot = Boot::new(&[], &said);
    assert_eq!(HostKey::from_console(&boot.console), [], "{}", boot.console);
    let lines: Vec<String> = boot.console.lines().map(str::to_owned).collect();
    let why = "the container failed: it ended with code 7".to_owned();
    assert_eq!(booted(&lines), Booted::Failed(why));
    for line in &lines {
        assert!(line.starts_with(SAYS), "{line}");
        assert!(line.len() < 2_100, "{} bytes", line.len());
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

#[test]
fn secrets_do_not_overwrite_the_scripts_variables() {
    let several = "first line\nsecond line";
    let names = [
        "engine",
        "container",
        "work",
        "image",
        "port",
        "logging",
        "secrets",
        "problem",
    ];
    let secrets: Vec<(&str, &str)> = names.iter().map(|name| (*name, several)).collect();
    let boot = Boot::new(&secrets, "");
    let run = boot.file("run");
    for argument in ["landfall\n", "PORT=8000\n", "8000:8000\n", "web@sha256:00"] {
        assert!(run.contains(argument), "{argument}: {run} {}", boot.console);
    }
    let environment = boot.file("environment");
    for name in names {
        let set = format!("{name}={several}");
        assert!(environment.split('\0').any(|it| it == set), "{name}");
        assert!(run.contains(&format!("--env\n{name}\n")), "{run}");
    }
}

#[test]
fn secrets_that_the_engine_would_obey_are_refused() {
    for name in ["DOCKER_HOST", "LD_PRELOAD", "PATH", "https_proxy"] {
        let boot = Boot::new(&[(name, "first line\nsecond line")], "");
        let refused = format!("landfall: gave up: the secret {name} has several lines");
        assert!(boot.console.contains(&refused), "{}", boot.console);
        assert_eq!(boot.file("run"), "");
    }
    // A value of one line is passed in a file, which only the container gets.
    let boot = Boot::new(&[("DOCKER_HOST", "tcp://one")], "");
    assert!(boot.file("run").contains("landfall\n"), "{}", boot.console);
    assert!(!boot.file("environment").contains("tcp://one"));
}
