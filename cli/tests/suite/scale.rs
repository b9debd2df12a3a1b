//! Manual scaling: the number of instances, its effect on a deploy, and invalid requests.

use crate::support::{Project, get};

fn file(name: &str) -> String {
    format!(
        "stack = \"{name}\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\n"
    )
}

/// The number of running instances, and of their versions.
fn running(project: &Project) -> (usize, usize) {
    let status = project.landfall(&["status", "--json"]).ended_with(0).json();
    let instances = status["status"]["groups"][0]["instances"].as_array();
    let running: Vec<_> = instances
        .unwrap()
        .iter()
        .filter(|one| one["state"] == "running")
        .collect();
    let versions: std::collections::BTreeSet<_> = running
        .iter()
        .map(|one| one["template_version"].as_u64())
        .collect();
    (running.len(), versions.len())
}

#[test]
fn scale_holds_until_the_file_changes_the_number() {
    let toml = file("scale-stays");
    let project = Project::with_service(&toml);
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let scaled = project.landfall(&["scale", "web=3"]).ended_with(0).stdout;
    assert!(
        scaled.contains("web  2 → 3 instances, healthy  min 1, max 4"),
        "{scaled}"
    );
    assert_eq!(running(&project), (3, 1));
    let again = project
        .landfall(&["scale", "web=3", "--json"])
        .ended_with(0)
        .json();
    assert_eq!(again["result"], "scale");
    let service = &again["services"][0];
    assert_eq!(
        (&service["name"], &service["before"], &service["desired"]),
        (&"web".into(), &3.into(), &3.into())
    );
    assert_eq!(service["targets"].as_array().unwrap().len(), 3);

    // The file's number is unchanged: there is nothing to do, and a new version has the same number
    // of instances.
    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("Nothing to do"), "{plan}");
    let changed = format!("{toml}env = {{ GREETING = \"new\" }}\n");
    project.write("landfall.toml", &changed);
    project.landfall(&["deploy"]).ended_with(0);
    assert_eq!(running(&project), (3, 1));
    let (_, body) = get(url.trim_end(), "/").unwrap();
    assert!(body.trim_end().ends_with("new"), "{body}");

    // New limits apply to the number.
    project.write(
        "landfall.toml",
        &format!("{changed}scale = {{ max = 2 }}\n"),
    );
    project.landfall(&["deploy"]).ended_with(0);
    assert_eq!(running(&project), (2, 1));
    // A changed number in the file applies.
    project.write(
        "landfall.toml",
        &format!("{changed}scale = {{ desired = 1, max = 2 }}\n"),
    );
    project.landfall(&["deploy"]).ended_with(0);
    assert_eq!(running(&project), (1, 1));
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn invalid_counts_are_refused_first() {
    let project = Project::with_service(&file("scale-refused"));
    project
        .landfall(&["scale", "web=2"])
        .ended_with(1)
        .saying(&["there is no stack scale-refused", "`deploy` creates it"]);
    project.nothing_is_left();
    project.landfall(&["deploy"]).ended_with(0);
    for (args, says) in [
        (
            &["web=5"][..],
            &[
                "web has between 1 and 4 instances, and not 5",
                "`min` and `max` under [service.web.scale]",
            ][..],
        ),
        (
            &["web=0"],
            &["web has between 1 and 4 instances, and not 0"],
        ),
        (
            &["wbe=3"],
            &[
                "scale-refused has no service `wbe`",
                "its only service is `web`",
            ],
        ),
        (&["web=3", "api=9"], &["has no service `api`"]),
        (&["web=3", "web=4"], &["web has more than one number"]),
        (
            &["web"],
            &["expected a service and a number, such as web=3"],
        ),
        (&["web=many"], &["`many` is not a number of instances"]),
        (&[], &["Usage: landfall scale"]),
    ] {
        let args: Vec<&str> = [&["scale"], args].concat();
        project.landfall(&args).ended_with(2).saying(says);
    }
    let refused = project
        .landfall(&["scale", "web=5", "--json"])
        .ended_with(2)
        .json();
    assert_eq!(
        (&refused["result"], &refused["stage"]),
        (&"error".into(), &"scale".into())
    );
    assert_eq!(running(&project), (2, 1));
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
