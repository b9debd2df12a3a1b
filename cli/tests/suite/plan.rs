//! Plans that are printed, saved and confirmed: changes since then, irreversible changes, and the
//! source of the confirmation.

use std::process::{Command, Stdio};

use landfall_lb::TargetGroup;
use landfall_network::GatewayEndpoint;
use landfall_provider::Provider as _;

use crate::by_hand::by_hand;
use crate::support::{Project, Ran};

fn file(stack: &str) -> String {
    format!(
        "stack = \"{stack}\"\n\n[network]\nnat = \"per-zone\"\n\n[service.web]\nport = 8000\n\
         health = {{ path = \"/healthz\" }}\nenv = {{ LOG = \"info\", API_TOKEN = \"t0psecret\" }}\n"
    )
}

/// A project with a deployed stack.
fn deployed(stack: &str) -> Project {
    let project = Project::with_service(&file(stack));
    project.landfall(&["deploy"]).ended_with(0);
    project
}

fn destroyed(project: &Project) {
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

/// Runs the program at a terminal with this input.
fn at_a_terminal(project: &Project, args: &str, types: &str) -> (Option<i32>, String) {
    let mut on_terminal = Command::new("script");
    let command = format!("{} {args}", env!("CARGO_BIN_EXE_landfall"));
    on_terminal.args(["-qec", &command, "/dev/null"]);
    let template = project.command(&[]);
    for (name, value) in template.get_envs() {
        match value {
            Some(value) => on_terminal.env(name, value),
            None => on_terminal.env_remove(name),
        };
    }
    let mut child = on_terminal
        .env("NO_COLOR", "1")
        .current_dir(project.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), types.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

#[test]
fn the_detailed_exit_code_tells_changes_from_errors() {
    let project = deployed("plan-code");
    project
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(0);
    let changed = file("plan-code").replace("/healthz", "/");
    project.write("landfall.toml", &changed);
    let plan = project
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(2)
        .stdout;
    assert!(plan.contains("health_check.path: /healthz → /"), "{plan}");
    project.landfall(&["plan"]).ended_with(0);
    project.write("landfall.toml", &changed.replace("8000", "0"));
    project
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(1);
    let json = project
        .landfall(&["plan", "--detailed-exitcode", "--json"])
        .ended_with(1)
        .json();
    assert_eq!(json["exit_code"], 1);
    project.landfall(&["plan"]).ended_with(2);
    project
        .landfall(&["plan", "--detailed-exitcode", "--nonsense"])
        .ended_with(1);
    destroyed(&project);
}

#[test]
fn what_somebody_changed_by_hand_shows_and_is_put_right() {
    let project = deployed("plan-drift");
    by_hand::<TargetGroup>(&project, "plan-drift", "web", async |local, live| {
        let mut spec = live.spec.clone();
        spec.health_check.path = "/by-hand".to_owned();
        local.update(&live, &spec).await
    });
    by_hand::<GatewayEndpoint>(&project, "plan-drift", "s3", async |local, live| {
        local.delete(&live).await
    });
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    for part in [
        "~ target-group/web",
        "health_check.path: /by-hand → /healthz",
        "+ gateway-endpoint/s3",
        "Plan: 1 to create, 1 to change,",
    ] {
        assert!(plan.contains(part), "{part} is missing in:\n{plan}");
    }
    project.landfall(&["deploy"]).ended_with(0);
    project
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(0);
    destroyed(&project);
}

#[test]
fn a_kept_plan_is_carried_out_as_it_stands() {
    let project = deployed("plan-kept");
    project.write("landfall.toml", &file("plan-kept").replace("/healthz", "/"));
    project
        .landfall(&["plan", "--out", "review.plan"])
        .ended_with(0);
    let kept = std::fs::read_to_string(project.directory().join("review.plan")).unwrap();
    assert!(
        kept.contains("API_TOKEN") && !kept.contains("t0psecret"),
        "{kept}"
    );
    may_be_read_by_its_owner_alone(&project);
    let deployed = project
        .landfall(&["deploy", "--plan", "review.plan"])
        .ended_with(0);
    assert!(deployed.stderr.contains("1 updated"), "{deployed:#?}");
    // It applied to the earlier state.
    project
        .landfall(&["deploy", "--plan", "review.plan"])
        .ended_with(2)
        .saying(&[
            "the resources of plan-kept have changed",
            "health_check.path: /healthz → /",
            "nothing was changed",
        ]);
    destroyed(&project);
}

/// Also for a file that anybody could read before, and through a link.
fn may_be_read_by_its_owner_alone(project: &Project) {
    use std::os::unix::fs::PermissionsExt as _;

    let file = project.directory().join("review.plan");
    let mode = || file.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = project.directory().join("link.plan");
    std::os::unix::fs::symlink("review.plan", &link).unwrap();
    project
        .landfall(&["plan", "--out", "link.plan"])
        .ended_with(0);
    assert_eq!(mode(), 0o600);
    assert!(link.is_symlink());
    // A path that is not a file is written and not replaced.
    let ran = project.landfall(&["plan", "--out", "/dev/stdout"]);
    assert!(ran.ended_with(0).stdout.contains("\"checksum\""));
}

#[test]
fn a_kept_plan_is_refused_when_anything_has_changed_since() {
    let project = deployed("plan-stale");
    let changed = file("plan-stale").replace("/healthz", "/");
    project.write("landfall.toml", &changed);
    project
        .landfall(&["plan", "--out", "review.plan"])
        .ended_with(0);
    let kept = std::fs::read_to_string(project.directory().join("review.plan")).unwrap();
    let refused = |parts: &[&str]| {
        let ran = project
            .landfall(&["deploy", "--plan", "review.plan"])
            .ended_with(2)
            .saying(parts);
        assert_eq!(ran.stdout, "");
        assert!(!ran.stderr.contains("t0psecret"), "{ran:#?}");
    };

    // A changed file.
    project.write("landfall.toml", &changed.replace("info", "debug"));
    refused(&[
        "the desired state has changed",
        "workload.env.LOG: info → debug",
    ]);
    project.write("landfall.toml", &changed.replace("t0psecret", "t0psecret2"));
    refused(&["a hidden value has changed"]);
    // Another stack.
    project.write(
        "landfall.toml",
        &changed.replace("plan-stale", "plan-other"),
    );
    refused(&["this plan is for the stack plan-stale, not for plan-other"]);
    project.write("landfall.toml", &changed);
    // A changed source of the image.
    let service = std::fs::read(project.directory().join("service")).unwrap();
    project.write("service", "another one");
    refused(&["the desired state has changed", "image/web: source: "]);
    std::fs::write(project.directory().join("service"), service).unwrap();
    // An older, a damaged, and a missing plan file.
    project.write(
        "review.plan",
        &kept.replace("\"format\": 1", "\"format\": 0"),
    );
    refused(&["this plan has format 0, and this Landfall reads format 1"]);
    project.write(
        "review.plan",
        &kept.replace("\"desired\": 2", "\"desired\": 3"),
    );
    refused(&["this plan is damaged"]);
    project.write("review.plan", &kept[..kept.len() / 2]);
    refused(&["this is no saved plan"]);
    project.write("review.plan", &kept);
    // Another cloud.
    let elsewhere: Ran = project
        .command(&["deploy", "--plan", "review.plan"])
        .env(
            "LANDFALL_RUNTIME_DIR",
            project.runtime_dir().with_file_name("run2"),
        )
        .output()
        .unwrap()
        .into();
    elsewhere
        .ended_with(2)
        .saying(&["this plan was made for another provider", "run2"]);
    // A changed live resource.
    by_hand::<GatewayEndpoint>(&project, "plan-stale", "s3", async |local, live| {
        local.delete(&live).await
    });
    refused(&[
        "the resources of plan-stale have changed",
        "gateway-endpoint/s3 vpce-",
        "is gone",
    ]);
    destroyed(&project);
}

#[test]
fn losing_an_address_takes_a_yes_and_a_daily_change_does_not() {
    let project = deployed("plan-loss");
    let single = file("plan-loss").replace("per-zone", "single");
    project.write("landfall.toml", &single);
    let lost = ["Lost for good", "elastic-ip/nat-b", "address 203.0.113."];
    let ran = project.landfall(&["deploy"]).ended_with(2).saying(&lost);
    let ran = ran.saying(&["needs a confirmation", "--yes", "nothing was changed"]);
    assert_eq!(ran.stdout, "");
    let json = project.landfall(&["deploy", "--json"]).ended_with(2).json();
    assert_eq!(json["stage"], "confirmation");
    assert_eq!(json["losses"][0]["key"], "elastic-ip/nat-b");
    let (code, text) = at_a_terminal(&project, "deploy", "n\n");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("lose this for good? [y/N]") && text.contains("the answer was no"),
        "{text}"
    );
    project.landfall(&["deploy", "--yes"]).ended_with(0);

    // A new image, environment and port lose nothing.
    project.write(
        "landfall.toml",
        &single.replace("8000", "8001").replace("info", "debug"),
    );
    project.landfall(&["deploy"]).ended_with(0);
    destroyed(&project);
}

#[test]
fn a_destroy_takes_a_yes() {
    let project = deployed("plan-end");
    let ran = project.landfall(&["destroy"]).ended_with(2);
    ran.saying(&[
        "destroying plan-end needs a confirmation",
        "its instances",
        "--yes",
        "nothing was changed",
    ]);
    let (code, text) = at_a_terminal(&project, "destroy", "\n");
    assert_eq!(code, Some(2), "{text}");
    project
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(0);
    let (code, text) = at_a_terminal(&project, "destroy", "y\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Destroy plan-end for good? [y/N]"), "{text}");
    assert!(text.contains("nothing is left"), "{text}");
    project.nothing_is_left();
    // An empty stack has nothing to lose.
    project.landfall(&["destroy"]).ended_with(0);
}

#[test]
fn what_is_protected_is_not_destroyed_with_or_without_its_file() {
    let protected = file("plan-safe").replace("\n\n[network]", "\nprotect = true\n\n[network]");
    let project = Project::with_service(&protected);
    project.landfall(&["deploy"]).ended_with(0);
    for args in [
        &["destroy", "--yes"][..],
        &["destroy", "--stack", "plan-safe", "--yes"],
    ] {
        let ran = project.landfall(args).ended_with(2);
        ran.saying(&[
            "plan-safe is protected",
            "protect = false",
            "nothing was changed",
        ]);
    }
    project.write("landfall.toml", &protected.replace("per-zone", "single"));
    let ran = project.landfall(&["deploy", "--yes"]).ended_with(2);
    ran.saying(&[
        "plan-safe is protected, and the change would lose",
        "elastic-ip/nat-b",
    ]);
    project.write("landfall.toml", &file("plan-safe"));
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("protected: true → false"), "{plan}");
    project.landfall(&["deploy"]).ended_with(0);
    destroyed(&project);
}

#[test]
fn a_first_deploy_that_fails_leaves_nothing_protected_behind() {
    let deaf = file("plan-deaf")
        .replace("\n\n[network]", "\nprotect = true\n\n[network]")
        .replace("path = \"/healthz\"", "path = \"/healthz\", deadline = 2")
        .replace("LOG = \"info\"", "MODE = \"deaf\"");
    let project = Project::with_service(&deaf);
    project
        .landfall(&["deploy"])
        .ended_with(1)
        .saying(&["nothing is left"]);
    project.nothing_is_left();
}

#[test]
fn what_the_provider_has_against_a_plan_is_in_the_plan() {
    let https = file("plan-cannot")
        + "\n[load-balancer]\ncertificate = \"arn:aws:acm:eu-central-1:123456789012:certificate/0a1b\"\n";
    let project = Project::with_service(&https);
    let ran = project
        .landfall(&["plan", "--out", "review.plan"])
        .ended_with(2);
    assert!(ran.stdout.contains("+ launch-template/web"), "{ran:#?}");
    ran.saying(&[
        "the plan cannot be carried out",
        "the local provider has no certificates: it serves HTTP only",
    ]);
    assert!(!project.directory().join("review.plan").exists());
    project.nothing_is_left();
}

#[test]
fn before_commands_are_left_out_where_that_is_asked_for() {
    let project =
        Project::with_service(&(file("plan-quick") + "image = { before = \"touch ran\" }\n"));
    project.landfall(&["plan", "--no-before"]).ended_with(0);
    assert!(!project.directory().join("ran").exists());
    project.landfall(&["plan"]).ended_with(0);
    assert!(project.directory().join("ran").exists());
}

#[test]
fn a_second_run_waits_for_the_first_or_says_whose_it_is() {
    let project = Project::with_service(
        &(file("plan-wait")
            + "image = { before = \"touch begun; until test -e go; do sleep 0.05; done\" }\n"),
    );
    let first = project.spawn(&["deploy"]);
    crate::support::wait_for(&project.directory().join("begun"));
    let process = format!("process {}, since 2", first.id());
    let ran = project.landfall(&["destroy", "--yes"]).ended_with(1);
    ran.saying(&[
        "cannot destroy plan-wait now",
        "deploy by ",
        &process,
        "--wait",
        "unlock",
    ]);
    let ran = project
        .landfall(&["destroy", "--yes", "--wait=1s"])
        .ended_with(1);
    ran.saying(&["waiting for another run: deploy by", "another run holds it"]);
    // A local lock ends with its process, and this one is alive.
    let ran = project.landfall(&["unlock"]).ended_with(2);
    ran.saying(&["plan-wait is locked: deploy by", &process, "--yes"]);
    let ran = project.landfall(&["unlock", "--yes"]).ended_with(1);
    ran.saying(&["ends with its process"]);
    let second = project.spawn(&["destroy", "--yes", "--wait"]);
    project.write("go", "");
    let first: Ran = first.wait_with_output().unwrap().into();
    first.ended_with(0);
    let second: Ran = second.wait_with_output().unwrap().into();
    assert!(second.ended_with(0).stdout.contains("nothing is left"));
    let ran = project.landfall(&["unlock"]).ended_with(0);
    assert_eq!(ran.stdout, "plan-wait is not locked\n");
    project.nothing_is_left();
}
