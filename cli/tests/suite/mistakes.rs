//! Common mistakes of manual deployments: each is explained, refused, and fixed by the suggested
//! change, and packets agree before and after.

use std::path::Path;
use std::time::{Duration, Instant};

use landfall_network::{Direction, SecurityGroupRules};
use landfall_provider::Provider as _;
use serde_json::Value;

use crate::by_hand::by_hand;
use crate::support::{Project, get, get_within};

/// An example's file with the tests' own service, and this deadline of a deploy.
fn example(name: &str, deadline: u32) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mistakes");
    let text = std::fs::read_to_string(path.join(name).join("landfall.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("image "));
    let text: Vec<&str> = lines.collect();
    let text = text.join("\n") + "\n";
    assert!(text.contains("deadline = 60"), "{text}");
    text.replace("deadline = 60", &format!("deadline = {deadline}"))
}

/// The symptoms of a mistake.
struct Mistake {
    name: &'static str,
    /// The layer and the code.
    layer: &'static str,
    code: &'static str,
    /// The symptom for a client, in the explanation.
    seen: &'static str,
}

impl Mistake {
    /// Explained and refused, with nothing created; returns the suggested change.
    #[track_caller]
    fn is_explained_and_refused(&self, project: &Project) -> String {
        let reported = project
            .landfall(&["explain", "internet", "lb:80"])
            .ended_with(1);
        for part in [self.layer, self.code, self.seen, "add to landfall.toml:"] {
            assert!(reported.stdout.contains(part), "{part}: {reported:#?}");
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

    /// Deployed nevertheless, the live network is blocked by the same code at the same place as the
    /// file's.
    #[track_caller]
    fn is_explained_live(&self, project: &Project) {
        let question = ["explain", "--json", "internet", "lb:80"];
        let ask = |more: &[&str]| {
            let asked = [&question, more].concat();
            let line = project.landfall(&asked).ended_with(1).json();
            let block = &line["explanation"]["answers"][0]["verdict"]["block"];
            (block["code"].clone(), block["at"].clone())
        };
        let (code, at) = ask(&["--live"]);
        assert_eq!(code, self.code);
        assert_eq!(ask(&[]), (code, at));
        let live = ["explain", "--live", "internet", "lb:80"];
        let reported = project.landfall(&live).ended_with(1).stdout;
        for part in [self.layer, self.code, self.seen] {
            assert!(reported.contains(part), "{part}: {reported}");
        }
    }

    /// Fixed by the suggestion: explain and deploy accept it, and packets arrive.
    #[track_caller]
    fn is_mended(&self, project: &Project, change: &str) {
        project.write(
            "landfall.toml",
            &(example(self.name, 60) + "\n" + change + "\n"),
        );
        let reported = project
            .landfall(&["explain", "internet", "lb:80"])
            .ended_with(0);
        assert!(
            reported
                .stdout
                .contains("internet → balancer:80  reachable"),
            "{reported:#?}"
        );
        let deployed = project.landfall(&["deploy"]).ended_with(0);
        let (status, body) = get(deployed.stdout.trim_end(), "/").unwrap();
        assert_eq!(status, 200, "{body}");
        // The live network gives the same result, with the instances' addresses.
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

/// The suggested blocks of TOML.
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

/// Instances that the balancer cannot reach: they run, no check ever arrives, and clients get a
/// 504.
#[track_caller]
fn behind_the_balancer(mistake: &Mistake) {
    let project = Project::with_service(&example(mistake.name, 15));
    let change = mistake.is_explained_and_refused(&project);
    let accepted = ["deploy", "--accept-unreachable", "--keep-failed"];
    let deployed = project.landfall(&accepted).ended_with(1);
    deployed.saying(&["Target.Timeout"]);
    let (status, body) = get(&url(&project), "/").unwrap();
    assert_eq!(status, 504, "{body}");
    mistake.is_explained_live(&project);
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
fn security_group_for_another_port() {
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
    // All targets are healthy, and no client reaches the balancer.
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
    mistake.is_explained_live(&project);
    let pictured = [
        "explain", "--live", "internet", "lb:80", "--svg", "live.svg",
    ];
    project.landfall(&pictured).ended_with(1);
    let picture = std::fs::read_to_string(project.directory().join("live.svg")).unwrap();
    std::fs::remove_file(project.directory().join("live.svg")).unwrap();
    for part in ["<svg", "class=\"shut\"", mistake.layer, mistake.code] {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    mistake.is_mended(&project, &change);
}

#[test]
fn rule_removed_by_hand_is_missed_in_the_live_stack() {
    let file = "stack = \"shop-drift\"\n\n[service.web]\nport = 8000\n";
    let project = Project::with_service(file);
    let url = project.landfall(&["deploy"]).ended_with(0).stdout;
    let url = url.trim_end();
    let question = ["explain", "internet", "lb:80"];
    let live = ["explain", "--live", "internet", "lb:80"];
    project.landfall(&live).ended_with(0);
    by_hand::<SecurityGroupRules>(&project, "shop-drift", "web", async |local, live| {
        let mut spec = live.spec.clone();
        spec.rules
            .retain(|rule| rule.direction == Direction::Egress);
        local.update(&live, &spec).await
    });
    project.landfall(&question).ended_with(0);
    let reported = project.landfall(&live).ended_with(1).stdout;
    for part in ["security-group/web", "SG_HAS_NO_RULES"] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
    // Packets agree, as soon as earlier connections are closed.
    let deadline = Instant::now() + Duration::from_secs(60);
    while get(url, "/").unwrap().0 == 200 {
        assert!(Instant::now() < deadline, "it still answers");
    }
    project.landfall(&["deploy"]).ended_with(0);
    project.landfall(&live).ended_with(0);
    assert_eq!(get(url, "/").unwrap().0, 200);
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn examples_are_explained_from_their_directories() {
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
