//! Every command after a release that went back, by itself, after `scale` and after `rollback`. docs/releases.md has the
//! same table.

use crate::support::{Project, Ran};

/// A service that has run releases 1 and 2, and whose file asks for one that ends at once.
fn failing() -> Project {
    let project = Project::with_service("");
    for (mode, code) in [("MODE = \"well\"", 0), (TWO, 0), (BAD, 1)] {
        file(&project, mode);
        project.landfall(&["deploy"]).ended_with(code);
    }
    project
}

const TWO: &str = "TWO = \"2\"";
const BAD: &str = "MODE = \"exit\"";

fn file(project: &Project, env: &str) {
    let text = format!(
        "stack = \"after\"\n\n[service.web]\nport = 8000\nderegistration-delay = 1\nenv = {{ {env} }}\n\
         health = {{ interval = 5, timeout = 2, unhealthy-threshold = 2, deadline = 30 }}\n\
         scale = {{ desired = 1, max = 3 }}\n"
    );
    project.write("landfall.toml", &text);
}

/// A command, its exit code, and a part of what it says.
type Row<'a> = (&'a [&'a str], i32, &'a str);

/// Runs the commands in order and compares; lists every difference at once.
#[track_caller]
fn table(project: &Project, after: &str, rows: &[Row<'_>]) {
    let mut wrong = Vec::new();
    for (command, code, says) in rows {
        let ran = project.landfall(command);
        let Ran { stdout, stderr, .. } = &ran;
        if ran.code != Some(*code) || !(stdout.contains(says) || stderr.contains(says)) {
            wrong.push(format!("{command:?} is not {code}, {says}: {ran:#?}"));
        }
    }
    assert!(wrong.is_empty(), "after {after}: {}", wrong.join("\n"));
}

#[test]
fn each_command_after_a_failed_release() {
    let project = failing();
    table(
        &project,
        "a failed release",
        &[
            (&["plan"], 0, "release 3 of web is tried again"),
            (
                &["plan", "--detailed-exitcode"],
                2,
                "release 3 of web is tried again",
            ),
            (&["status"], 0, "v2"),
            (&["scale", "web=1"], 0, "web"),
            (
                &["deploy"],
                1,
                "was rolled back from release 3 to release 2, which serves",
            ),
            (&["rollback", "2"], 0, "release 2 of web serves"),
            (&["rollback", "3"], 1, "web"),
            (&["rollback", "9"], 2, "web has no release 9"),
            (&["stop"], 2, "no single instance to stop"),
            (&["start"], 2, "no single instance to start"),
        ],
    );
    table(
        &project,
        "a failed release and scale",
        &[
            (&["scale", "web=2"], 0, "web  1 → 2 instances"),
            (&["plan"], 0, "web"),
            (&["plan", "--detailed-exitcode"], 2, "web"),
            (&["status"], 0, "desired 2 (1 in the file)"),
            (&["scale", "web=1"], 0, "web  2 → 1 instance"),
            (&["deploy"], 1, "was rolled back from release"),
            (&["rollback", "2"], 0, "release 2 of web serves"),
            (&["stop"], 2, "no single instance to stop"),
            (&["start"], 2, "no single instance to start"),
        ],
    );
    table(
        &project,
        "a failed release and rollback",
        &[
            (&["rollback"], 0, "web was rolled back from release 2 to 1"),
            (&["plan"], 0, "launch-template/web"),
            (&["plan", "--detailed-exitcode"], 2, "launch-template/web"),
            (&["status"], 0, "healthy"),
            (&["scale", "web=2"], 0, "web  1 → 2 instances"),
            (&["scale", "web=1"], 0, "web  2 → 1 instance"),
            (&["deploy"], 1, "was rolled back from release"),
            (&["rollback", "2"], 0, "web was rolled back from release"),
            (&["stop"], 2, "no single instance to stop"),
            (&["start"], 2, "no single instance to start"),
        ],
    );
    // The file put right, from here on.
    file(&project, "TWO = \"right\"");
    table(
        &project,
        "the file was put right",
        &[
            (&["deploy"], 0, "web"),
            (&["deploy"], 0, "nothing to do"),
            (&["destroy", "--yes"], 0, "after"),
        ],
    );
    project.nothing_is_left();
}
