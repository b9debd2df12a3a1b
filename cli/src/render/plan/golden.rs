//! Golden tests of the most common changes: the complete plan of each, in text and in JSON.

use landfall_pipeline::{Cloud, Config, Review, Sources, catalog, stack};
use landfall_provider::{Found, Key, Probe, Schema, Snapshot, Stack, kind, plan};
use serde_json::{Value, json};

use crate::commands::plan::Line;

/// The deployed stack before the change.
const BEFORE: &str = r#"
stack  = "digipay"
region = "ap-south-1"

[network]
cidr    = "10.0.0.0/16"
zones   = 2
nat     = "per-zone"
bastion = { allow = ["203.0.113.7/32"] }

[service.web]
port     = 8000
health   = { path = "/healthz" }
instance = "t3.micro"
scale    = { min = 1, desired = 2, max = 4 }
env      = { LOG = "info", DB_PASSWORD = "hunter2" }
image    = { platform = "linux/amd64" }
"#;

fn schema() -> Schema {
    catalog::<dyn Cloud>().schema().clone()
}

/// The stack of a file, with images from sources of these hashes.
fn wanted(file: &str, sources: &[(&str, char)]) -> Stack {
    let config = Config::parse(file, "/checkout/landfall.toml").unwrap();
    let sources: Sources = sources
        .iter()
        .map(|(service, digit)| {
            let hash = digit.to_string().repeat(64);
            (service.parse().unwrap(), hash.parse().unwrap())
        })
        .collect();
    stack(&config, &sources).unwrap()
}

/// The provider's resources after the stack is deployed: ids consist of kinds and names.
fn deployed(stack: &Stack) -> Snapshot {
    let schema = schema();
    let id = |key: &Key| Some(format!("{}-{}", key.kind, key.name));
    let mut addresses = 10..;
    let found = stack.resources().iter().map(|(key, desired)| Found {
        key: key.clone(),
        id: id(key).unwrap(),
        spec: schema
            .get(&key.kind)
            .unwrap()
            .resolve(&desired.spec, &id)
            .unwrap(),
        state: Probe::Usable(match &key.kind {
            kind if *kind == kind::ELASTIC_IP => {
                json!({ "address": format!("198.51.100.{}", addresses.next().unwrap()) })
            }
            kind if *kind == kind::LOAD_BALANCER => {
                json!({ "dns_name": "digipay-main-1234.ap-south-1.elb.amazonaws.com" })
            }
            _ => Value::Null,
        }),
    });
    Snapshot::new(found.collect())
}

/// Plans the change from one file to the other, and compares the output with the stored one.
#[track_caller]
fn check(name: &str, before: &Stack, after: &Stack) {
    let schema = schema();
    let plan = plan(after, &deployed(before), &schema).unwrap();
    let review = Review::of(&plan, &schema);
    let text = anstream::adapter::strip_str(&super::render(&review)).to_string();
    assert!(!text.contains("hunter"), "{text}");
    insta::assert_snapshot!(format!("{name}_text"), text);
    insta::assert_json_snapshot!(format!("{name}_json"), Line::of(&review));
}

/// The file with a part of its text replaced.
fn edited(from: &str, to: &str) -> String {
    assert!(BEFORE.contains(from), "{from}");
    BEFORE.replace(from, to)
}

#[track_caller]
fn check_edit(name: &str, from: &str, to: &str) {
    let after = edited(from, to);
    check(
        name,
        &wanted(BEFORE, &[("web", 'a')]),
        &wanted(&after, &[("web", 'a')]),
    );
}

#[test]
fn a_port() {
    check_edit("port", "8000", "9000");
}

#[test]
fn an_image() {
    let after = wanted(BEFORE, &[("web", 'b')]);
    check("image", &wanted(BEFORE, &[("web", 'a')]), &after);
}

#[test]
fn an_instance_type() {
    check_edit("instance_type", "t3.micro", "t3.small");
}

#[test]
fn limits() {
    check_edit(
        "limits",
        "instance = \"t3.micro\"",
        "instance = \"t3.micro\"\nmemory = \"512 MiB\"\ncpu = 0.5\nprocesses = 200\ndisk = \"4 GiB\"",
    );
}

#[test]
fn a_third_zone() {
    check_edit("zones", "zones   = 2", "zones   = 3");
}

#[test]
fn another_network() {
    check_edit("cidr", "10.0.0.0/16", "10.1.0.0/16");
}

#[test]
fn no_bastion() {
    check_edit(
        "bastion_off",
        "bastion = { allow = [\"203.0.113.7/32\"] }",
        "",
    );
}

#[test]
fn a_single_nat_gateway() {
    check_edit("nat_single", "per-zone", "single");
}

#[test]
fn a_health_path() {
    check_edit("health_path", "/healthz", "/ready");
}

#[test]
fn limits_of_scaling() {
    check_edit(
        "scale",
        "min = 1, desired = 2, max = 4",
        "min = 2, desired = 3, max = 8",
    );
}

#[test]
fn a_second_service() {
    let more = "\n[service.api]\nport = 9000\nroute = \"/api/*\"\nimage = { platform = \"linux/amd64\" }\n";
    let after = wanted(&format!("{BEFORE}{more}"), &[("web", 'a'), ("api", 'c')]);
    check("second_service", &wanted(BEFORE, &[("web", 'a')]), &after);
}

#[test]
fn a_secret_in_the_environment_is_in_neither_form() {
    let stacks =
        ["hunter2", "hunter3"].map(|secret| wanted(&edited("hunter2", secret), &[("web", 'a')]));
    let schema = schema();
    let plan = plan(&stacks[1], &deployed(&stacks[0]), &schema).unwrap();
    let review = Review::of(&plan, &schema);
    let json = serde_json::to_string(&Line::of(&review)).unwrap();
    let text = super::render(&review);
    for shown in [&json, &text] {
        assert!(
            shown.contains("DB_PASSWORD") && shown.contains("(hidden)"),
            "{shown}"
        );
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

#[test]
fn nothing_changes_without_a_change() {
    let stack = wanted(BEFORE, &[("web", 'a')]);
    let plan = plan(&stack, &deployed(&stack), &schema()).unwrap();
    assert!(plan.is_empty(), "{plan:#?}");
}

#[test]
fn the_order_is_the_same_every_time() {
    let (before, after) = (
        wanted(BEFORE, &[("web", 'a')]),
        wanted(&edited("10.0.0.0/16", "10.1.0.0/16"), &[("web", 'a')]),
    );
    // The order of a provider's listing is random.
    let mut found = deployed(&before).found().to_vec();
    found.reverse();
    let texts: Vec<String> = [deployed(&before), Snapshot::new(found)]
        .iter()
        .map(|live| {
            super::render(&Review::of(
                &plan(&after, live, &schema()).unwrap(),
                &schema(),
            ))
        })
        .collect();
    assert_eq!(texts[0], texts[1]);
}
