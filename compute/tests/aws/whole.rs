//! All kinds in one stack, by the engine: created, found unchanged, changed, deleted; also with
//! faulty calls.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_compute::{
    AutoscalingGroup, Instance, InstanceProfile, KeyPair, Metric, ScalingPolicy, kinds,
};
use landfall_provider::{
    Applied, ApplyOptions, Catalog, Plan, PollInterval, Preflight, Stack, apply, plan,
};
use landfall_testkit::scripted::Faults;

use crate::bed::{Bed, stack};
use crate::kinds::{ED25519, template};

fn desired(bed: &Bed, log: &str) -> Stack {
    let mut desired = Stack::new(stack());
    let name = |text: &str| text.parse().unwrap();
    let add = "no name is taken";
    let key = KeyPair {
        public_key: ED25519.parse().unwrap(),
    };
    let key = desired.try_add(name("main"), key).expect(add);
    let profile = InstanceProfile {
        repositories: Vec::new(),
        secrets: vec!["ssm:/digipay/token".parse().unwrap()],
        logs: None,
    };
    let profile = desired.try_add(name("web"), profile).expect(add);
    let mut template = template(bed, log);
    template.profile = Some(profile.id());
    template.key = Some(key.id());
    let template = desired.try_add(name("web"), template).expect(add);
    let group = AutoscalingGroup {
        template: template.id(),
        subnets: bed.subnets.clone(),
        min: 1,
        desired: 2,
        max: 4,
        target_groups: Vec::new(),
        health_check_grace_period: 330,
    };
    let group = desired.try_add(name("web"), group).expect(add);
    let policy = ScalingPolicy {
        group: group.id(),
        metric: Metric::Cpu(60),
    };
    desired.try_add(name("web-cpu"), policy).expect(add);
    let bastion = Instance {
        subnet: bed.subnets[0].clone(),
        groups: vec![bed.group.clone()],
        instance_type: "t3.nano".to_owned(),
        address: None,
        profile: None,
        key: Some(key.id()),
        workload: None,
    };
    desired.try_add(name("bastion"), bastion).expect(add);
    desired
}

async fn planned(bed: &Bed, desired: &Stack) -> Plan {
    let catalog = kinds(Catalog::new());
    let live = catalog.snapshot(&bed.aws, desired.name()).await.unwrap();
    plan(desired, &live, catalog.schema()).unwrap()
}

async fn deploy(bed: &Bed, desired: &Stack) -> Applied {
    let plan = planned(bed, desired).await;
    let findings = bed.aws.preflight(&plan).await.unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    // An emulator is nearby.
    let options = ApplyOptions {
        poll_interval: PollInterval {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(500),
        },
        ..ApplyOptions::default()
    };
    let applied = apply(&plan, &bed.aws, &kinds(Catalog::new()), &options).await;
    assert!(applied.is_complete(), "{applied:#?}");
    applied
}

/// This crate's resources, as boto3 finds them.
async fn held(bed: &Bed) -> BTreeMap<String, usize> {
    let held = bed
        .boto(
            "{'keys': len(client('ec2').describe_key_pairs()['KeyPairs']), \
              'profiles': len(client('iam').list_instance_profiles()['InstanceProfiles']), \
              'roles': len(client('iam').list_roles(PathPrefix='/landfall/')['Roles']), \
              'templates': len(client('ec2').describe_launch_templates()['LaunchTemplates']), \
              'groups': len(client('autoscaling').describe_auto_scaling_groups()['AutoScalingGroups']), \
              'policies': len(client('autoscaling').describe_policies()['ScalingPolicies']), \
              'instances': sum(i['State']['Name'] != 'terminated' for r in client('ec2').describe_instances()['Reservations'] \
                  for i in r['Instances'])}",
        )
        .await;
    serde_json::from_value(held).unwrap()
}

fn all() -> BTreeMap<String, usize> {
    let one = [
        "groups",
        "keys",
        "policies",
        "profiles",
        "roles",
        "templates",
    ];
    let mut all: BTreeMap<_, _> = one.iter().map(|kind| ((*kind).to_owned(), 1)).collect();
    // Two of the group, and the bastion.
    all.insert("instances".to_owned(), 3);
    all
}

fn nothing() -> BTreeMap<String, usize> {
    all().into_keys().map(|kind| (kind, 0)).collect()
}

#[tokio::test]
async fn needs_moto_a_stack_lives_and_ends_with_few_calls() {
    let bed = Bed::new().await;
    let info = desired(&bed, "info");
    deploy(&bed, &info).await;
    let first = bed.calls();
    assert_eq!(held(&bed).await, all());

    bed.calls();
    let again = planned(&bed, &info).await;
    let listing = bed.calls();
    assert!(again.is_empty(), "{again:#?}");

    let debug = desired(&bed, "debug");
    let changed = deploy(&bed, &debug).await;
    let change = bed.calls();
    assert_eq!(changed.ready.len(), 6);
    assert!(planned(&bed, &debug).await.is_empty());
    assert_eq!(held(&bed).await, all());

    bed.calls();
    deploy(&bed, &Stack::new(stack())).await;
    let end = bed.calls();
    assert_eq!(held(&bed).await, nothing());

    // The cost of a deploy, a snapshot, a change and a destroy of these six; without its own VPC in
    // the stack, a snapshot starts with two more calls.
    let cost = [&first, &listing, &change, &end].map(Vec::len);
    println!("calls: {cost:?}\n{first:#?}\n{listing:#?}\n{change:#?}\n{end:#?}");
    assert!(
        cost.iter()
            .zip([25, 11, 17, 28])
            .all(|(cost, most)| *cost <= most),
        "{cost:?}"
    );
}

#[tokio::test]
async fn needs_moto_lifecycle_survives_refusals_and_lost_answers() {
    for seed in 1..=3 {
        let bed = Bed::with(Faults::seeded(seed).throttle(20).lose_every(7)).await;
        deploy(&bed, &desired(&bed, "info")).await;
        assert_eq!(held(&bed).await, all(), "seed {seed}");
        deploy(&bed, &desired(&bed, "debug")).await;
        assert_eq!(held(&bed).await, all(), "seed {seed}");
        deploy(&bed, &Stack::new(stack())).await;
        assert_eq!(held(&bed).await, nothing(), "seed {seed}");
    }
}

#[tokio::test]
async fn needs_moto_what_cannot_run_is_found_before_anything_is_made() {
    let bed = Bed::new().await;
    let mut desired = desired(&bed, "info");
    let mut tiny = template(&bed, "info");
    tiny.instance_type = "t3.tiny".to_owned();
    desired.try_add("tiny".parse().unwrap(), tiny).unwrap();
    let plan = planned(&bed, &desired).await;
    let findings = bed.aws.preflight(&plan).await.unwrap();
    let reported: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        reported,
        [
            "launch-template/tiny: eu-central-1 has no instance type t3.tiny that runs Linux on x86_64 or arm64"
        ]
    );
    assert_eq!(held(&bed).await, nothing());
}
