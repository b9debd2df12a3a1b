//! The mistakes that were made by hand: explained, refused, mended by the change that is suggested, and packets
//! that agree before and after.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Project, get, get_within};

/// An example's file with the tests' own service, and this long until a deploy gives up.
fn example(name: &str, deadline: u32) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mistakes");
    let text = std::fs::read_to_string(path.join(name).join("landfall.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("image "));
    let text: Vec<&str> = lines.collect();
    let text = text.join("\n") + "\n";
    assert!(text.contains("deadline = 60"), "{text}");
    text.replace("deadline = 60", &format!("deadline = {deadline}"))
}

/// What a mistake looks like.
struct Mistake {
    name: &'static str,
    /// The layer and the code.
    layer: &'static str,
    code: &'static str,
    /// What the explanation says that a client will see.
    seen: &'static str,
}

impl Mistake {
    /// Explained and refused, with nothing made; gives the change that is suggested.
    #[track_caller]
    fn is_explained_and_refused(&self, project: &Project) -> String {
        let told = project
            .landfall(&["explain", "internet", "lb:80"])
            .ended_with(1);
        for part in [self.layer, self.code, self.seen, "add to landfall.toml:"] {
            assert!(told.stdout.contains(part), "{part}: {told:#?}");
        }
        for command in ["plan", "deploy"] {
            let refused = project.landfall(&[command]).ended_with(2);
            let refused = refused.saying(&[self.layer, self.code, "nothing was changed"]);
            assert_eq!(refused.stdout, "");
        }
        assert!(!project.runtime_dir().exists(), "no cloud was started");
        let line = project.landfall(&["deploy", "--json"]).ended_with(2).json();
        assert_eq!(line["stage"], "reachability", "{line:#}");
        changes(&line["broken"])
    }

    /// Mended by what was suggested: explain says so, deploy takes it, and packets arrive.
    #[track_caller]
    fn is_mended(&self, project: &Project, change: &str) {
        project.write(
            "landfall.toml",
            &(example(self.name, 60) + "\n" + change + "\n"),
        );
        let told = project
            .landfall(&["explain", "internet", "lb:80"])
            .ended_with(0);
        assert!(
            told.stdout.contains("internet → balancer:80  reachable"),
            "{told:#?}"
        );
        let deployed = project.landfall(&["deploy"]).ended_with(0);
        let (status, body) = get(deployed.stdout.trim_end(), "/").unwrap();
        assert_eq!(status, 200, "{body}");
        // What is there says the same, with the addresses that the instances have.
        let live = ["explain", "--live", "internet", "lb:80"];
        project.landfall(&live).ended_with(0);
        project.landfall(&["destroy", "--yes"]).ended_with(0);
        project.nothing_is_left();
        project
            .landfall(&live)
            .ended_with(1)
            .saying(&["there is no stack"]);
    }
}

/// The blocks that are suggested.
fn changes(broken: &Value) -> String {
    let broken = broken.as_array().unwrap().iter();
    let changes = broken.flat_map(|broken| broken["changes"].as_array().unwrap());
    let blocks: Vec<&str> = changes
        .map(|change| change["file"].as_str().unwrap())
        .collect();
    blocks.join("\n\n")
}

/// The address of the stack's listener.
fn url(project: &Project) -> String {
    let status = project.landfall(&["status", "--json"]).ended_with(0).json();
    let url = &status["status"]["listeners"][0]["url"];
    url.as_str()
        .unwrap_or_else(|| panic!("{status:#}"))
        .to_owned()
}

/// Instances that the balancer cannot reach: they run, no check ever arrives, and clients get a 504.
#[track_caller]
fn behind_the_balancer(mistake: &Mistake) {
    let project = Project::with_service(&example(mistake.name, 15));
    let change = mistake.is_explained_and_refused(&project);
    let accepted = ["deploy", "--accept-unreachable", "--keep-failed"];
    let deployed = project.landfall(&accepted).ended_with(1);
    deployed.saying(&["Target.Timeout"]);
    let (status, body) = get(&url(&project), "/").unwrap();
    assert_eq!(status, 504, "{body}");
    mistake.is_mended(&project, &change);
}

#[test]
fn a_group_without_a_rule_for_the_port_that_the_acl_lets_in() {
    behind_the_balancer(&Mistake {
        name: "1-group-without-rule",
        layer: "security-group/web",
        code: "ENI_SG_RULES_MISMATCH",
        seen: "it answers with status 504, and health checks fail with Target.Timeout",
    });
}

#[test]
fn a_group_with_a_rule_for_another_port_than_that_of_the_service() {
    behind_the_balancer(&Mistake {
        name: "2-wrong-port",
        layer: "security-group/web",
        code: "ENI_SG_RULES_MISMATCH",
        seen: "it answers with status 504, and health checks fail with Target.Timeout",
    });
}

#[test]
fn a_balancer_whose_port_is_closed() {
    let mistake = Mistake {
        name: "3-closed-balancer",
        layer: "security-group/balancer",
        code: "SG_HAS_NO_RULES",
        seen: "packets vanish: the connection times out",
    };
    let project = Project::with_service(&example(mistake.name, 60));
    let change = mistake.is_explained_and_refused(&project);
    // All targets are healthy, and nobody gets to the balancer.
    project
        .landfall(&["deploy", "--accept-unreachable"])
        .ended_with(0)
        .saying(&["healthy"]);
    let error = get_within(&url(&project), "/", Duration::from_secs(3)).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "nobody answers, not even to refuse: {error}"
    );
    mistake.is_mended(&project, &change);
}

#[test]
fn the_examples_as_they_stand_are_explained_from_their_own_directories() {
    let project = Project::new("");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mistakes");
    let mut seen = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let config = entry.unwrap().path().join("landfall.toml");
        if config.exists() {
            let config = config.to_str().unwrap();
            let asked = ["explain", "--config", config, "internet", "lb:80"];
            project.landfall(&asked).ended_with(1);
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}
