use landfall_lb::{HealthCheck, TargetGroup};
use landfall_network::{Subnet, Vpc};
use landfall_provider::{
    Found, Key, Port, Probe, Resource, Schema, Snapshot, Stack, StackName, Zone, plan,
};
use serde_json::json;

use super::*;

fn schema() -> Schema {
    Schema::new()
        .with::<Vpc>()
        .with::<Subnet>()
        .with::<TargetGroup>()
}

fn target_group(vpc: &landfall_provider::Handle<Vpc>, port: u16, path: &str) -> TargetGroup {
    TargetGroup {
        vpc: vpc.id(),
        port: Port::new(port).unwrap(),
        health_check: HealthCheck {
            path: path.into(),
            interval: 5,
            timeout: 2,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            matcher: "200".into(),
        },
        deregistration_delay: 5,
    }
}

fn stack(port: u16, path: &str) -> Stack {
    let mut stack = Stack::new(StackName::new("digipay").unwrap());
    let vpc = stack.add(
        "main",
        Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
        },
    );
    stack.add(
        "public-a",
        Subnet {
            vpc: vpc.id(),
            cidr: "10.0.0.0/20".parse().unwrap(),
            zone: Zone::new("ap-south-1a").unwrap(),
        },
    );
    stack.add("web", target_group(&vpc, port, path));
    stack
}

/// The stack as a provider would hold it.
fn live(stack: &Stack, ids: &[(&str, &str)]) -> Snapshot {
    let id = |key: &Key| {
        let key = key.to_string();
        ids.iter()
            .find(|(of, _)| *of == key)
            .map(|(_, id)| (*id).to_owned())
    };
    Snapshot::new(
        stack
            .resources()
            .iter()
            .filter_map(|(key, desired)| {
                let metadata = schema();
                let metadata = metadata.get(&key.kind).unwrap();
                Some(Found {
                    key: key.clone(),
                    id: id(key)?,
                    spec: metadata.resolve(&desired.spec, &id).unwrap(),
                    state: Probe::Usable(json!(null)),
                })
            })
            .collect(),
    )
}

const IDS: &[(&str, &str)] = &[
    ("vpc/main", "vpc-01"),
    ("subnet/public-a", "subnet-02"),
    ("target-group/web", "tg-03"),
];

fn shown(desired: &Stack, live: &Snapshot) -> String {
    let plan = plan(desired, live, &schema()).unwrap();
    let review = Review::of(&plan, &schema());
    anstream::adapter::strip_str(&render(&review)).to_string()
}

#[test]
fn everything_new() {
    insta::assert_snapshot!(shown(&stack(8000, "/healthz"), &Snapshot::default()), @r"
      + vpc/main          cidr 10.0.0.0/16
      + subnet/public-a   cidr 10.0.0.0/20, zone ap-south-1a
      + target-group/web  deregistration_delay 5, port 8000

    Plan: 3 to create
    ");
}

#[test]
fn nothing_to_do() {
    let stack = stack(8000, "/healthz");
    insta::assert_snapshot!(shown(&stack, &live(&stack, IDS)), @"Nothing to do: 3 resources unchanged");
}

#[test]
fn a_change_in_place_shows_the_field_down_to_what_differs() {
    let live = live(&stack(8000, "/healthz"), IDS);
    insta::assert_snapshot!(shown(&stack(8000, "/ready"), &live), @r"
      ~ target-group/web  tg-03
          health_check.path: /healthz → /ready

    Plan: 1 to change, 2 unchanged
    ");
}

#[test]
fn a_replacement_shows_what_forces_it() {
    let live = live(&stack(8000, "/healthz"), IDS);
    insta::assert_snapshot!(shown(&stack(9000, "/ready"), &live), @r"
    -/+ target-group/web  tg-03  port cannot change in place
          health_check.path: /healthz → /ready
          port: 8000 → 9000  forces replacement

    Plan: 1 to replace, 2 unchanged
    ");
}

#[test]
fn what_nobody_wants_goes() {
    let live = live(&stack(8000, "/healthz"), IDS);
    let mut smaller = Stack::new(StackName::new("digipay").unwrap());
    smaller.add(
        "main",
        Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
        },
    );
    insta::assert_snapshot!(shown(&smaller, &live), @r"
      - subnet/public-a   subnet-02  no longer wanted
      - target-group/web  tg-03  no longer wanted

    Plan: 2 to delete, 1 unchanged
    ");
}

#[test]
fn a_failed_one_is_replaced_and_says_how_it_failed() {
    let stack = stack(8000, "/healthz");
    let mut found = live(&stack, IDS).found().to_vec();
    for one in &mut found {
        if one.key.kind == Subnet::KIND {
            one.state = Probe::Failed("the router has no room".into());
        }
    }
    insta::assert_snapshot!(shown(&stack, &Snapshot::new(found)), @r"
    -/+ subnet/public-a  subnet-02  it failed: the router has no room

    Plan: 1 to replace, 2 unchanged
    ");
}
