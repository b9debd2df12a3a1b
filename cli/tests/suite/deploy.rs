//! The complete life of a stack: deploy, request, status, deploy again, destroy, and a check for
//! leftovers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::strike::signal;
use crate::support::{Project, Ran, get, get_as};

// A stack's loopback port is derived from its name, so each test has its own name.
const SHOP: &str =
    "stack = \"shop\"\n\n[service.web]\nport = 8000\nhealth = { path = \"/healthz\" }\n";

#[test]
fn from_source_to_an_address_and_back_to_nothing() {
    let project = Project::with_service(&SHOP.replace("shop", "shop-whole"));
    let deployed = project.landfall(&["deploy"]).ended_with(0);
    let url = deployed.stdout.trim_end();
    assert!(
        url.starts_with("http://shop-whole.localhost:") && url.ends_with('/'),
        "standard output is the address alone: {deployed:#?}"
    );
    assert!(
        deployed.stderr.contains("created  vpc/main  vpc-"),
        "{deployed:#?}"
    );

    // Round robin over both instances, one in each zone.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..20 {
        let (status, body) = get(url, "/").unwrap();
        assert_eq!(status, 200);
        *seen.entry(body).or_default() += 1;
    }
    assert_eq!(
        seen.values().copied().collect::<Vec<_>>(),
        [10, 10],
        "{seen:?}"
    );
    let zones: Vec<&str> = seen
        .keys()
        .filter_map(|who| who.split(' ').nth(1))
        .collect();
    assert!(
        zones.contains(&"local-1a") && zones.contains(&"local-1b"),
        "{seen:?}"
    );

    // The address without a name is printed, and the port serves any name in a request.
    let port = url.trim_end_matches('/').rsplit_once(':').unwrap().1;
    let numeric = format!("127.0.0.1:{port}");
    let printed = format!("http://{numeric}/ works everywhere");
    assert!(deployed.stderr.contains(&printed), "{deployed:#?}");
    for host in [numeric.as_str(), "another.example"] {
        let answer = get_as(url, host, "/", Duration::from_secs(20));
        assert_eq!(answer.unwrap().0, 200, "{host}");
    }

    let status = project.landfall(&["status"]).ended_with(0).stdout;
    for part in [
        "listener http :80",
        "target group web :8000",
        "local-1a",
        "local-1b",
        "healthy",
    ] {
        assert!(status.contains(part), "{part} is missing in:\n{status}");
    }

    let plan = project.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("Nothing to do"), "{plan}");
    let again = project
        .landfall(&["deploy"])
        .ended_with(0)
        .saying(&["nothing to do"]);
    assert_eq!(again.stdout, deployed.stdout);

    let destroyed = project.landfall(&["destroy", "--yes"]).ended_with(0);
    assert!(
        destroyed.stdout.contains("nothing is left"),
        "{destroyed:#?}"
    );
    project.nothing_is_left();
    assert!(get(url, "/").is_err(), "nobody listens any more");
    let nothing = project.landfall(&["destroy", "--yes"]).ended_with(0).stdout;
    assert!(
        nothing.contains("there was nothing to destroy"),
        "{nothing}"
    );
    project.nothing_is_left();
}

#[test]
fn an_ordinary_user_deploys_is_answered_and_leaves_nothing() {
    let project = Project::with_service(&SHOP.replace("shop", "shop-user")).by_an_ordinary_user();
    let deployed = project.landfall(&["deploy"]).ended_with(0);
    let url = deployed.stdout.trim_end();
    let mut zones = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let (status, body) = get(url, "/").unwrap();
        assert_eq!(status, 200);
        zones.insert(body.split(' ').nth(1).unwrap().to_owned());
    }
    assert_eq!(zones.len(), 2, "{zones:?}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn faulty_file_still_names_the_stack_to_destroy() {
    let toml = SHOP.replace("shop", "shop-faulty");
    let project = Project::with_service(&toml);
    project.landfall(&["deploy"]).ended_with(0);
    project.write("landfall.toml", &toml.replace("port = 8000", "port = 0"));
    std::fs::remove_file(project.directory().join("Dockerfile")).unwrap();
    let status = project.landfall(&["status"]).ended_with(0).stdout;
    assert!(status.contains("healthy"), "{status}");
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn the_last_line_of_json_is_the_result() {
    let project = Project::with_service(&SHOP.replace("shop", "shop-json"));
    let ran = project.landfall(&["deploy", "--json"]).ended_with(0);
    for line in ran.stdout.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            value["event"].is_string() || value["result"].is_string(),
            "{line}"
        );
    }
    let result = ran.json();
    assert_eq!(result["result"], "deploy");
    assert_eq!(result["dns_name"], "shop-json.localhost");
    assert!(
        result["url"]
            .as_str()
            .unwrap()
            .starts_with("http://shop-json.localhost:")
    );
    assert!(
        result["image"]
            .as_str()
            .unwrap()
            .starts_with("shop-json/web@sha256:")
    );
    assert!(result["duration_ms"].is_u64());
    let targets = result["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2);
    assert!(
        targets.iter().all(|target| target["state"] == "healthy"),
        "{targets:?}"
    );

    let status = project.landfall(&["status", "--json"]).ended_with(0).json();
    assert_eq!(
        (&status["result"], &status["healthy"]),
        (&"status".into(), &true.into())
    );
    let plan = project.landfall(&["plan", "--json"]).ended_with(0).json();
    assert_eq!(plan["resources"], serde_json::json!([]));
    let destroyed = project
        .landfall(&["destroy", "--json", "--yes"])
        .ended_with(0)
        .json();
    assert_eq!(destroyed["left"], serde_json::json!([]));
    project.nothing_is_left();
}

#[test]
fn destroy_needs_only_the_name() {
    let project = Project::with_service(&SHOP.replace("shop", "shop-name"));
    project.landfall(&["deploy"]).ended_with(0);
    project.write(
        "landfall.toml",
        "stack = \"shop-name\" this is no file any more",
    );
    project
        .landfall(&["destroy", "--stack", "shop-name", "--yes"])
        .ended_with(0);
    project.nothing_is_left();
}

#[test]
fn interrupted_deploy_is_continued_and_destroyed() {
    for (name, how, then) in [
        ("shop-int", "INT", "deploy"),
        ("shop-term", "TERM", "destroy"),
    ] {
        // The service does not listen, so the deploy waits for its health until it is interrupted.
        let text = SHOP
            .replace("shop", name)
            .replace("port = 8000", "port = 8000\nenv = { MODE = \"deaf\" }");
        let project = Project::with_service(&text);
        let mut deploy = project.spawn(&["deploy"]);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        // When the listener exists, everything except health is complete.
        loop {
            let ran = project.landfall(&["status", "--json"]);
            if ran.code == Some(0) && ran.json()["status"]["listeners"][0]["url"].is_string() {
                break;
            }
            if let Some(ended) = deploy.try_wait().unwrap() {
                panic!(
                    "{ended}: {:#?}",
                    Ran::from(deploy.wait_with_output().unwrap())
                );
            }
            assert!(std::time::Instant::now() < deadline, "{ran:#?}");
        }
        signal(&deploy, how);
        let ran: Ran = deploy.wait_with_output().unwrap().into();
        let ran = ran.ended_with(130).saying(&[
            "stopping after the current operations",
            "resources",
            "continues",
        ]);
        assert_eq!(ran.stdout, "");
        if then == "deploy" {
            project.write("landfall.toml", &SHOP.replace("shop", name));
            let url = project.landfall(&["deploy"]).ended_with(0).stdout;
            assert_eq!(get(url.trim_end(), "/").unwrap().0, 200);
        }
        project.landfall(&["destroy", "--yes"]).ended_with(0);
        project.nothing_is_left();
    }
}

#[test]
fn two_stacks_do_not_disturb_each_other() {
    let project = Project::with_service(&SHOP.replace("shop", "shop-one"));
    project.write("other.toml", &SHOP.replace("shop", "shop-other"));
    let one = project.landfall(&["deploy"]).ended_with(0).stdout;
    let other = project
        .landfall(&["deploy", "--config", "other.toml"])
        .ended_with(0)
        .stdout;
    assert_ne!(one, other);
    project
        .landfall(&["destroy", "--stack", "shop-other", "--yes"])
        .ended_with(0);
    assert_eq!(get(one.trim_end(), "/").unwrap().0, 200);
    assert!(get(other.trim_end(), "/").is_err());
    project.landfall(&["destroy", "--yes"]).ended_with(0);
    project.nothing_is_left();
}

#[test]
fn a_stack_is_destroyed_by_its_name_where_there_is_no_file() {
    let file = "stack = \"shop-alone\"\n\n[service.web]\nport = 8000\n";
    let project = Project::with_service(file);
    project.landfall(&["deploy"]).ended_with(0);
    let empty = tempfile::tempdir().unwrap();
    let elsewhere = |args: &[&str]| -> Ran {
        let mut command = project.command(args);
        command.current_dir(empty.path()).output().unwrap().into()
    };
    // Without either there is no way to find the stack.
    elsewhere(&["destroy", "--yes"])
        .ended_with(2)
        .saying(&["landfall.toml", "nothing was changed"]);
    // Another stack's name must not affect this one.
    let other = elsewhere(&["destroy", "--stack", "shop-alon", "--yes"]).ended_with(0);
    assert!(
        other.stdout.contains("there was nothing to destroy"),
        "{other:#?}"
    );
    let status = elsewhere(&["status", "--stack", "shop-alone"]).ended_with(0);
    assert!(status.stdout.contains("healthy"), "{status:#?}");
    let destroyed = elsewhere(&["destroy", "--stack", "shop-alone", "--yes"]).ended_with(0);
    assert!(
        destroyed.stdout.contains("nothing is left"),
        "{destroyed:#?}"
    );
    project.nothing_is_left();
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}
