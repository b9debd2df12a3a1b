//! The content of the account, as boto3 reports it.

use std::collections::BTreeMap;

use landfall_testkit::registry::USER;
use serde_json::Value;

use crate::account::Account;

const LOOK: &str = r#"
import boto3, json
ec2, elb, asg = boto3.client("ec2"), boto3.client("elbv2"), boto3.client("autoscaling")
ecr, iam, ssm = boto3.client("ecr"), boto3.client("iam"), boto3.client("ssm")
STACK = "landfall:stack"
def tags(thing): return {t["Key"]: t["Value"] for t in thing.get("Tags") or thing.get("TagSet") or []}
def ours(things): return [t for t in things if STACK in tags(t)]
def state(things, *gone): return [t for t in things if t.get("State", {}) not in gone]
vpcs = ours(ec2.describe_vpcs()["Vpcs"])
subnets = ours(ec2.describe_subnets()["Subnets"])
nats = [n for n in ours(ec2.describe_nat_gateways()["NatGateways"]) if n["State"] != "deleted"]
tables = ours(ec2.describe_route_tables()["RouteTables"])
groups = ours(ec2.describe_security_groups()["SecurityGroups"])
endpoints = [e for e in ours(ec2.describe_vpc_endpoints()["VpcEndpoints"]) if e["State"] != "deleted"]
instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]
             if i["State"]["Name"] != "terminated"]
balancers = elb.describe_load_balancers()["LoadBalancers"]
targets = elb.describe_target_groups()["TargetGroups"]
listeners = [l for b in balancers for l in elb.describe_listeners(LoadBalancerArn=b["LoadBalancerArn"])["Listeners"]]
arns = [x for b in balancers for x in [b["LoadBalancerArn"]]] + [t["TargetGroupArn"] for t in targets] \
     + [l["ListenerArn"] for l in listeners]
elbtags = {d["ResourceArn"]: tags(d) for d in elb.describe_tags(ResourceArns=arns)["TagDescriptions"]} if arns else {}
scaling = asg.describe_auto_scaling_groups()["AutoScalingGroups"]
templates = ours(ec2.describe_launch_templates()["LaunchTemplates"])
latest = [ec2.describe_launch_template_versions(LaunchTemplateId=t["LaunchTemplateId"], Versions=["$Latest"])
          ["LaunchTemplateVersions"][0]["LaunchTemplateData"] for t in templates]
print(json.dumps({
  "vpcs": vpcs, "subnets": subnets, "nats": nats, "tables": tables, "groups": groups, "endpoints": endpoints,
  "acls": ours(ec2.describe_network_acls()["NetworkAcls"]),
  "gateways": ours(ec2.describe_internet_gateways()["InternetGateways"]),
  "addresses": ours(ec2.describe_addresses()["Addresses"]),
  "keys": ours(ec2.describe_key_pairs()["KeyPairs"]),
  "instances": instances, "balancers": balancers, "targets": targets, "listeners": listeners, "elbtags": elbtags,
  "scaling": scaling, "templates": templates, "latest": latest,
  "policies": asg.describe_policies()["ScalingPolicies"],
  "repositories": ecr.describe_repositories()["repositories"],
  "roles": [r for r in iam.list_roles()["Roles"] if r["Path"].startswith("/landfall/")],
  "profiles": iam.list_instance_profiles(PathPrefix="/landfall/")["InstanceProfiles"],
  "parameters": [p["Name"] for p in ssm.describe_parameters()["Parameters"] if p["Name"].startswith("/landfall")],
}, default=str))
"#;

/// Every resource that a stack could have created, by kind.
pub(crate) async fn look(account: &Account) -> Value {
    let reported = account.aws.moto.python(LOOK).await.unwrap();
    serde_json::from_str(&reported).unwrap()
}

/// The kinds with at least one resource.
pub(crate) fn what_is_there(seen: &Value) -> Vec<&str> {
    let kinds = seen.as_object().unwrap().iter();
    kinds
        .filter(|(_, things)| match things {
            Value::Array(things) => !things.is_empty(),
            Value::Object(things) => !things.is_empty(),
            _ => false,
        })
        .map(|(kind, _)| kind.as_str())
        .collect()
}

/// The elements of a list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The content of the account, one line each, with the names from the tags instead of ids.
pub(crate) async fn picture(account: &Account) -> Vec<String> {
    let registry = account.aws.registry();
    let program = include_str!("picture.py");
    let program = format!("REGISTRY, USER = {registry:?}, {USER:?}\n{program}");
    let reported = account.aws.moto.python(&program).await;
    reported.unwrap().lines().map(str::to_owned).collect()
}

/// All resources of the account, whatever their owner and state, by id.
pub(crate) async fn everything(account: &Account) -> BTreeMap<String, String> {
    let reported = account.aws.moto.python(include_str!("all.py")).await;
    serde_json::from_str(&reported.unwrap()).unwrap()
}

/// The difference to an earlier state: the number of new resources of each kind.
pub(crate) fn beyond(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut new: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, what) in after {
        if !before.contains_key(id) {
            *new.entry(what).or_default() += 1;
        }
    }
    new.iter()
        .map(|(what, number)| format!("{number} {what}"))
        .collect()
}

/// The lines that are only in the first, and those that are only in the second.
pub(crate) fn changed(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let only = |these: &[String], those: &[String]| {
        let these = these.iter().filter(|line| !those.contains(line));
        these.cloned().collect()
    };
    (only(before, after), only(after, before))
}
