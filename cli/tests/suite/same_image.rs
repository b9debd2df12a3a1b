//! Deploys of a changed build context with an unchanged image, with the real program.

use std::collections::BTreeSet;

use crate::support::Project;

fn file(name: &str) -> String {
    format!(
        "stack = \"{name}\"\n\n[service.web]\nport = 8000\nhealth = {{ path = \"/healthz\" }}\nenv = {{ LOG = \"info\" }}\n"
    )
}

/// A deployed stack whose context contains more files than its image.
fn deployed(name: &str) -> Project {
    let project = Project::with_service(&file(name));
    std::fs::remove_file(project.directory().join(".dockerignore")).unwrap();
    project.write("README.md", "first");
    project.landfall(&["deploy"]).ended_with(0);
    project
}

/// The ids of all listed instances.
fn instances(project: &Project) -> BTreeSet<String> {
    let status = project.landfall(&["status", "--json"]).ended_with(0).json();
    let instances = status["status"]["groups"][0]["instances"].as_array();
    let ids = instances.unwrap().iter().map(|one| one["id"].as_str());
    ids.map(|id| id.unwrap().to_owned()).collect()
}

#[test]
fn edits_outside_the_image_replace_nothing() {
    let project = deployed("same-edits");
    let before = instances(&project);
    assert_eq!(before.len(), 2);
    for (name, text) in [
        (
            "landfall.toml",
            format!("# a comment\n{}", file("same-edits")),
        ),
        ("README.md", "second".to_owned()),
        ("app.log", "GET / 200\n".to_owned()),
    ] {
        project.write(name, &text);
        project
            .landfall(&["plan", "--detailed-exitcode"])
            .ended_with(0);
        project
            .landfall(&["deploy"])
            .ended_with(0)
            .saying(&["nothing to do"]);
        assert_eq!(instances(&project), before, "{name}");
    }
    // A changed file of the image creates a release.
    let service = std::fs::read(project.directory().join("service")).unwrap();
    let changed = [service.as_slice(), b"changed"].concat();
    std::fs::write(project.directory().join("service"), changed).unwrap();
    project.landfall(&["deploy"]).ended_with(0);
    assert!(!instances(&project).is_subset(&before));
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn a_saved_plan_in_the_context_is_carried_out() {
    let project = deployed("same-plan");
    // The stack has its image under two sources.
    project.write("README.md", "second");
    project.landfall(&["deploy"]).ended_with(0);
    project.write("landfall.toml", &file("same-plan").replace("info", "debug"));
    project
        .landfall(&["plan", "--out", "review.plan"])
        .ended_with(0);
    project.write("app.log", "GET / 200\n");
    project
        .landfall(&["deploy", "--plan", "review.plan"])
        .ended_with(0)
        .saying(&["1 updated"]);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}
