//! The exact messages of failed deploys: the reason first and once, then evidence, hint, leftovers.

use crate::support::Project;

const HEALTH: &str = "health = { deadline = 4, interval = 5, timeout = 2 }";

fn project(service: &str, rest: &str) -> Project {
    Project::with_service(&format!(
        "stack = \"shop\"\n[service.web]\nport = 8000\n{service}\n{HEALTH}\n{rest}\n"
    ))
}

/// The error output of a failed deploy, with every instance's id as `ID`.
fn reported(project: &Project) -> String {
    let ran = project.landfall(&["deploy"]).ended_with(1);
    assert!(!ran.stderr.contains("\ndeleted "), "{ran:#?}");
    project.nothing_is_left();
    let at = ran.stderr.find("error: ").unwrap();
    let words = ran.stderr[at..].split(' ').map(|word| match word {
        id if id.starts_with("i-0") => "ID",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The complete text for two instances whose checks had not finished by the deadline.
#[track_caller]
fn not_healthy(project: &Project, cause: &str, mode: &str, hint: &str) {
    let expected = format!(
        "error: the service web did not become healthy within 4 s: {cause} (0 of 2 targets are healthy)\n  \
         web  ID  local-1a  initial\n  \
         web  ID  local-1b  initial\n  \
         its last output:\n  \
         │ starting in mode {mode}\n\
         hint: {hint}\n"
    );
    let reported = reported(project);
    let (text, left) = reported.split_at(expected.len().min(reported.len()));
    assert_eq!(text, expected, "{reported}");
    is_undone(left);
}

#[track_caller]
fn is_undone(text: &str) {
    let mut lines = text.lines();
    let first = lines.next();
    assert_eq!(first, Some("deleting the resources of this first deploy"));
    let last = lines.next_back().unwrap();
    assert!(
        last.starts_with("nothing is left: it was the stack's first deploy"),
        "{text}"
    );
    assert_eq!(lines.next(), None, "{text}");
}

#[test]
fn constant_301() {
    not_healthy(
        &project("env = { STATUS = \"301 Moved\" }", ""),
        "GET / answers with status 301 instead of 200",
        "well",
        "let `path` in [service.web.health] name a page that answers with 200, or write `matcher = \"200,301\"`",
    );
}

#[test]
fn another_port() {
    not_healthy(
        &project("env = { MODE = \"elsewhere\" }", ""),
        "it listens on port 3000 instead of 8000",
        "elsewhere",
        "let the service listen on the port in PORT, or write `port = 3000` in [service.web]",
    );
}

#[test]
fn loopback_only() {
    not_healthy(
        &project("env = { MODE = \"loopback\" }", ""),
        "it listens on 127.0.0.1:8000 only",
        "loopback",
        "let the service listen on 0.0.0.0:8000: 127.0.0.1 is reached from inside its container only",
    );
}

/// The provider's own SSH server on port 22 does not count as a port of the service.
#[test]
fn no_port_beside_the_ssh_server() {
    not_healthy(
        &project(
            "env = { MODE = \"deaf\" }",
            "[network.bastion]\nallow = [\"203.0.113.250/32\"]",
        ),
        "it listens on no port",
        "deaf",
        "let the service listen on 0.0.0.0 and the port in PORT, which is 8000; if it only starts slowly, write a \
         longer `deadline` in [service.web.health]",
    );
}

#[track_caller]
fn ended(reported: &str, headline: &str, after: &str) {
    let mut lines = reported.lines();
    assert_eq!(lines.next(), Some(headline), "{reported}");
    let rest: Vec<&str> = lines
        .skip_while(|line| line.starts_with("  web  ID  local-1") && line.ends_with("  failed"))
        .collect();
    let rest = rest.join("\n");
    let left = rest.strip_prefix(after).expect(reported);
    is_undone(left);
    let reason = headline
        .rsplit_once(" (")
        .unwrap()
        .0
        .rsplit_once("exec")
        .map_or("exited with code 7", |it| it.1);
    assert_eq!(
        reported.matches(reason).count(),
        1,
        "the reason is told once: {reported}"
    );
}

#[test]
fn an_exit_is_told_once() {
    let reported = reported(&project("env = { MODE = \"exit\" }", ""));
    ended(
        &reported,
        "error: the service web does not start: exited with code 7 (0 of 2 targets are healthy)",
        "  its last output:\n  │ starting in mode exit\n  │ cannot go on: the test says so\n",
    );
}

#[test]
fn a_crlf_interpreter_line() {
    let project = project("", "");
    project.write("run.sh", "#!/bin/sh\r\nexec /service\r\n");
    project.write(".dockerignore", "*\n!run.sh\n");
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY --chmod=755 run.sh /run.sh\nENTRYPOINT [\"/run.sh\"]\n",
    );
    ended(
        &reported(&project),
        "error: the service web does not start: did not start: exec \"/run.sh\": its lines end with CRLF, so its \
         first line names the interpreter \"/bin/sh\\r\": save the file with LF line ends (0 of 2 targets are healthy)",
        "",
    );
}

#[test]
fn a_command_that_is_not_there() {
    let project = project("", "");
    project.write(
        "Dockerfile",
        "FROM scratch\nCOPY service /service\nENTRYPOINT [\"/app\"]\n",
    );
    ended(
        &reported(&project),
        "error: the service web does not start: did not start: exec \"/app\": no such file in the image (0 of 2 \
         targets are healthy)",
        "hint: correct ENTRYPOINT or CMD in the Dockerfile, or the file they name\n",
    );
}

/// No hint suggests a change that the next command refuses.
#[test]
fn a_single_instance_is_advised_no_bastion() {
    let project =
        Project::with_service("stack = \"shop\"\nmode = \"single\"\n[service.web]\nport = 8000\n");
    project.landfall(&["deploy"]).ended_with(0);
    let ran = project.landfall(&["ssh", "web"]).ended_with(2);
    assert_eq!(
        ran.stderr,
        "error: shop is a single instance, which has no bastion to log in through\n\
         hint: `landfall exec` runs a command in its container, `landfall logs` shows its output\n"
    );
    let ran = project.landfall(&["deploy", "--my-address"]).ended_with(2);
    assert_eq!(
        ran.stderr,
        "error: --my-address needs a bastion, and a single instance has none\n\
         hint: `allow` in [single] lists the addresses that may connect to its port\n"
    );
}
