//! `landfall explain` on the command line: answers, pictures, exit codes, and invalid queries.

use std::path::Path;

use crate::support::Project;

const SHOP: &str = "\
stack = \"shop\"

[service.web]
port = 8000

[network.bastion]
allow = [\"203.0.113.7/32\"]
";

#[track_caller]
fn refused(arguments: &[&str], parts: &[&str]) {
    let project = Project::new(SHOP);
    let ran = project
        .landfall(&[&["explain"], arguments].concat())
        .ended_with(2)
        .saying(parts);
    assert_eq!(ran.stdout, "");
    assert!(!project.runtime_dir().exists(), "no cloud was started");
}

#[test]
fn the_exit_code_is_the_answer() {
    let project = Project::new(SHOP);
    for (from, to, code) in [
        ("internet", "lb:80", 0),
        ("internet", "balancer", 0),
        ("bastion", "web/1:22", 0),
        ("web", "internet:443", 0),
        ("web/2", "s3", 0),
        ("203.0.113.7", "bastion:22", 0),
        ("0.0.0.0/0", "web/2:8000", 1),
        ("203.0.113.9", "bastion:22", 1),
        ("web/1", "internet:25", 1),
        ("internet", "lb:81", 1),
    ] {
        project.landfall(&["explain", from, to]).ended_with(code);
    }
    assert!(!project.runtime_dir().exists(), "no cloud was started");
}

#[test]
fn a_path_is_told_hop_by_hop_with_its_rules() {
    let project = Project::new(SHOP);
    let reported = project
        .landfall(&["explain", "bastion", "web/1:22"])
        .ended_with(0);
    insta::assert_snapshot!(reported.stdout);
}

#[test]
fn blocked_connection_lists_every_needed_change() {
    let project = Project::new(SHOP);
    let reported = project
        .landfall(&["explain", "203.0.113.9", "bastion:22"])
        .ended_with(1);
    insta::assert_snapshot!(reported.stdout);
}

#[test]
fn the_changes_that_are_told_let_it_through() {
    let project = Project::new(SHOP);
    let question = ["explain", "--json", "web/1", "web/2:9000"];
    let line = project.landfall(&question).ended_with(1).json();
    let answer = &line["explanation"]["answers"][0];
    let changes = answer["changes"].as_array().unwrap();
    let blocks: Vec<&str> = changes
        .iter()
        .map(|it| it["file"].as_str().unwrap())
        .collect();
    assert!(blocks.len() > 1, "{line:#}");
    project.write(
        "landfall.toml",
        &format!("{SHOP}\n{}\n", blocks.join("\n\n")),
    );
    project.landfall(&question).ended_with(0);
}

#[test]
fn json_has_the_verdict_with_the_codes_of_aws() {
    let project = Project::new(SHOP);
    let line = project
        .landfall(&["explain", "--json", "internet", "web/1:8000"])
        .ended_with(1)
        .json();
    assert_eq!(line["result"], "explain");
    assert_eq!(line["explanation"]["reachable"], false);
    let verdict = &line["explanation"]["answers"][0]["verdict"];
    let code = "IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS";
    assert_eq!(verdict["block"]["code"], code, "{line:#}");
}

#[test]
fn the_matrix_says_who_reaches_whom() {
    let project = Project::new(SHOP);
    let reported = project.landfall(&["explain", "--all"]).ended_with(0);
    insta::assert_snapshot!(reported.stdout);
    let line = project
        .landfall(&["explain", "--all", "--json"])
        .ended_with(0)
        .json();
    let parties = line["overview"]["parties"].as_array().unwrap();
    assert!(parties.contains(&"web".into()), "{line:#}");
}

#[test]
fn pictures_are_well_formed_and_mark_the_block() {
    let project = Project::new(SHOP);
    for (arguments, parts) in [
        (
            vec!["internet", "lb"],
            vec!["internet → balancer:80", "reachable", "network-acl/public"],
        ),
        (
            vec!["internet", "lb:81"],
            vec![
                "class=\"shut\"",
                "SUBNET_ACL_RESTRICTION",
                "[[network.acl.public.entry]]",
            ],
        ),
        (
            vec!["--all"],
            vec!["class=\"open\"", "class=\"some\"", "8000"],
        ),
    ] {
        let asked = [&["explain", "--svg", "it.svg"], arguments.as_slice()].concat();
        project.landfall(&asked);
        let picture = std::fs::read_to_string(project.directory().join("it.svg")).unwrap();
        for part in parts {
            assert!(picture.contains(part), "{part} is missing in {picture}");
        }
        well_formed(&picture);
    }
}

/// Every element is closed in order, every `&` begins an entity, and there is one root.
#[track_caller]
fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut roots = 0;
    for (index, part) in xml.split('<').enumerate() {
        let (tag, text) = part.split_once('>').unwrap_or(("", part));
        for rest in part.split('&').skip(1) {
            let (entity, _) = rest.split_once(';').unwrap();
            assert!(["amp", "lt", "gt", "quot"].contains(&entity), "&{entity};");
        }
        assert!(index > 0 || text.trim().is_empty(), "text before the root");
        let name = tag.split_whitespace().next().unwrap_or_default();
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if index > 0 && !tag.ends_with('/') {
            roots += usize::from(open.is_empty());
            open.push(name);
        }
    }
    assert_eq!((open.as_slice(), roots), (&[][..], 1));
}

/// The picture in the README is generated from the repository's own file; UPDATE_PICTURES=1
/// regenerates it.
#[test]
fn the_picture_of_the_example_stack_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let project = Project::new("");
    let config = root.join("landfall.toml");
    let config = config.to_str().unwrap();
    let asked = ["explain", "--all", "--config", config, "--svg", "it.svg"];
    project.landfall(&asked).ended_with(0);
    let drawn = std::fs::read_to_string(project.directory().join("it.svg")).unwrap();
    let kept = root.join("docs/pictures/reachability.svg");
    if std::env::var_os("UPDATE_PICTURES").is_some() {
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, &drawn).unwrap();
    }
    assert!(
        std::fs::read_to_string(&kept).unwrap_or_default() == drawn,
        "docs/pictures/reachability.svg is out of date; UPDATE_PICTURES=1 draws it anew"
    );
}

#[test]
fn a_name_that_is_not_in_the_stack_is_told_with_the_nearest() {
    refused(
        &["internet", "wbe/1:8000"],
        &["`wbe/1`", "did you mean `web/1`?"],
    );
    refused(
        &["bastoin", "web/1"],
        &["`bastoin`", "did you mean `bastion`?"],
    );
    refused(&["internet", "web/9"], &["`web/9`", "did you mean"]);
    refused(
        &["internet", "database"],
        &["`database`", "there are", "`balancer`", "`web/2`"],
    );
}

#[test]
fn a_port_that_is_none() {
    for port in ["0", "65536", "99999999999", "-1", "http", ""] {
        let to = format!("lb:{port}");
        refused(&["internet", &to], &["is not a port; ports are 1 to 65535"]);
    }
}

#[test]
fn an_address_that_is_none() {
    refused(
        &["300.1.2.3", "lb:80"],
        &["`300.1.2.3`", "neither an IPv4 address nor"],
    );
    refused(&["203.0.113.0/33", "lb:80"], &["`203.0.113.0/33`"]);
    refused(&["2001:db8::1", "lb:80"], &["only IPv4 is supported"]);
    refused(&["internet", "2001:db8::1"], &["only IPv4 is supported"]);
    // In the VPC, and certainly unused.
    refused(&["10.0.0.0/24", "lb:80"], &["10.0.0.0/24"]);
}

#[test]
fn a_live_stack_that_is_gone() {
    let project = Project::new(SHOP);
    let asked = ["explain", "--live", "internet", "lb:80"];
    project
        .landfall(&asked)
        .ended_with(1)
        .saying(&["there is no stack shop"]);
    let all = ["explain", "--live", "--all", "--json"];
    let line = project.landfall(&all).ended_with(1).json();
    assert_eq!(line["result"], "error");
    project.nothing_is_left();
}

#[test]
fn a_picture_that_cannot_be_written() {
    refused(
        &["internet", "lb:80", "--svg", "no/such/place.svg"],
        &["no/such/place.svg"],
    );
}

#[test]
fn half_a_question() {
    refused(&["internet"], &["TO"]);
    refused(&[], &["FROM"]);
    refused(&["--all", "internet", "lb"], &["--all"]);
}
