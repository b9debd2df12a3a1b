//! The command line: help, exit codes, streams, colours, and refusals before any action.

use crate::support::{Project, Ran};

const GOOD: &str = "stack = \"shop\"\n\n[service.web]\nport = 8000\n";

fn landfall(args: &[&str]) -> Ran {
    Project::new(GOOD).landfall(args)
}

#[test]
fn help_has_examples_and_exit_codes_and_goes_to_standard_output() {
    let help = landfall(&["--help"]).ended_with(0);
    for part in [
        "Examples:",
        "landfall deploy",
        "Exit codes:",
        "130",
        "NO_COLOR",
    ] {
        assert!(help.stdout.contains(part), "{part}");
    }
    assert_eq!(help.stderr, "");
    for command in [
        "deploy",
        "plan",
        "status",
        "releases",
        "rollback",
        "scale",
        "destroy",
        "unlock",
        "completions",
        "schema",
    ] {
        assert!(help.stdout.contains(command), "{command}");
        let own = landfall(&[command, "--help"]).ended_with(0);
        assert!(own.stdout.contains("Usage: landfall"), "{command}");
    }
}

#[test]
fn a_wrong_command_line_is_2_and_goes_to_standard_error() {
    let unknown = landfall(&["deplyo"]).ended_with(2).saying(&["deploy"]);
    assert_eq!(unknown.stdout, "");
    landfall(&["deploy", "--provider", "azure"])
        .ended_with(2)
        .saying(&["local", "aws"]);
    landfall(&[]).ended_with(2).saying(&["Usage"]);
}

#[test]
fn a_wrong_command_line_is_json_if_json_was_asked_for() {
    let ran = landfall(&["status", "--json", "--stack", "Not_A_Name"]).ended_with(2);
    let line = ran.json();
    assert_eq!(line["result"], "error");
    assert_eq!(line["exit_code"], 2);
    assert!(line["message"].as_str().unwrap().contains("Not_A_Name"));
    assert_eq!(ran.stderr, "");
}

/// `cargo xtask ci` runs it for a build without the feature.
#[cfg(not(feature = "aws"))]
#[test]
fn aws_is_refused_by_a_build_without_it() {
    let project = Project::new(GOOD);
    for command in ["deploy", "plan", "status", "destroy", "unlock"] {
        let ran = project
            .landfall(&[command, "--provider", "aws"])
            .ended_with(2)
            .saying(&["this build has no AWS support"]);
        assert_eq!(ran.stdout, "");
    }
    project.nothing_is_left();
}

#[test]
fn a_missing_file_is_named() {
    let ran = landfall(&["deploy", "--config", "elsewhere.toml"]).ended_with(2);
    assert!(ran.stderr.contains("elsewhere.toml"), "{ran:#?}");
    let line = landfall(&["deploy", "--config", "elsewhere.toml", "--json"])
        .ended_with(2)
        .json();
    assert_eq!(line["result"], "error");
    assert_eq!(line["file"], "elsewhere.toml");
}

#[test]
fn faults_of_the_file_are_json_with_their_places() {
    let project = Project::new("stack = \"shop\"\n[service.web]\nport = 0\nprot = 1\n");
    let ran = project.landfall(&["plan", "--json"]).ended_with(2);
    let line = ran.json();
    assert_eq!(line["faults"][0]["line"], 3);
    assert_eq!(line["faults"][1]["line"], 4);
    assert!(line["faults"][1]["hint"].as_str().unwrap().contains("port"));
    assert_eq!(ran.stdout.lines().count(), 1);
}

#[test]
fn a_pipe_gets_no_colours() {
    let project = Project::new("stack = \"shop\"\n[service.web]\nport = 0\n");
    let ran = project.landfall(&["deploy"]).ended_with(2);
    assert!(!ran.stderr.contains('\x1b'), "{ran:#?}");
    let plan = landfall(&["--help"]);
    assert!(!plan.stdout.contains('\x1b'));
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_gets_colours_unless_no_color_is_set() {
    // `script` gives its command a terminal; it is part of util-linux, as essential as the shell.
    let project = Project::new("stack = \"shop\"\n[service.web]\nport = 0\n");
    let directory = project.directory();
    let on_terminal = |no_color: Option<&str>| {
        let mut command = std::process::Command::new("script");
        command
            .args([
                "-qec",
                concat!(env!("CARGO_BIN_EXE_landfall"), " deploy"),
                "/dev/null",
            ])
            .current_dir(&directory)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .envs(no_color.map(|value| ("NO_COLOR", value)))
            .stdin(std::process::Stdio::null());
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    };
    let coloured = on_terminal(None);
    assert!(coloured.contains("\x1b["), "{coloured:?}");
    assert!(coloured.contains("landfall.toml:3:8"), "{coloured:?}");
    let plain = on_terminal(Some("1"));
    assert!(!plain.contains("\x1b["), "{plain:?}");
    assert!(plain.contains("landfall.toml:3:8"), "{plain:?}");
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    let printed = landfall(&["schema"]).ended_with(0).stdout;
    let kept = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../landfall.schema.json"
    ))
    .unwrap();
    assert_eq!(printed, kept);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = landfall(&["completions", shell]).ended_with(0).stdout;
        assert!(script.contains("destroy"), "{shell}");
        assert!(script.contains("keep-failed"), "{shell}");
    }
}
