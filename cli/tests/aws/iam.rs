//! The operator's policy, compared with the calls of a deploy, a change and a destroy.
//!
//! Permissions without a call (tags in a create call, passing a role) are listed with AWS's page.
//! The resources in the policy are compared with the calls for roles, profiles and parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::account::{Account, EXAMPLE};

/// The policy's path in the repository.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/iam/operator.json");

/// Permissions that the program's calls need although the endpoint never sees them: the actions,
/// and the reasons.
const NO_CALLS: &[(&[&str], &str)] = &[
    (
        &["ec2:CreateTags"],
        "tags in the calls that make something: \
         https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html",
    ),
    (
        &["ec2:GetSecurityGroupsForVpc"],
        "a load balancer with security groups, since October 2024: \
         https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html, \
         https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/3917",
    ),
    (
        &["elasticloadbalancing:AddTags"],
        "the same: https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/tagging-resources-during-creation.html",
    ),
    (
        &["autoscaling:CreateOrUpdateTags"],
        "the same: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html",
    ),
    (
        &["iam:TagRole", "iam:TagInstanceProfile"],
        "the same: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html",
    ),
    (
        &["ssm:AddTagsToResource"],
        "the same: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html",
    ),
    (
        &["ecr:TagResource"],
        "the same: https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html",
    ),
    (
        &["iam:PassRole"],
        "the instances' role, put into a profile and given to instances: \
         https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html",
    ),
    (
        &["iam:CreateServiceLinkedRole"],
        "an account's first balancer and first group: \
         https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-service-linked-roles.html, \
         https://docs.aws.amazon.com/autoscaling/ec2/userguide/autoscaling-service-linked-role.html",
    ),
    (
        &[
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ],
        "pushing, which goes to the registry: \
         https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html",
    ),
];

/// The restrictions of actions that do not need `*`: the statement's name, its actions, resources
/// and conditions.
///
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>
/// lists the possible restrictions. EC2, Elastic Load Balancing and Auto Scaling name their
/// resources at random or by hash, so their names are unknown beforehand.
fn statements(actions: &BTreeSet<String>) -> Value {
    let mut by_sid: BTreeMap<&str, (Vec<&str>, Value, Option<Value>)> = BTreeMap::new();
    for action in actions {
        let (sid, resource, condition) = scope(action);
        let statement = by_sid
            .entry(sid)
            .or_insert_with(|| (Vec::new(), resource, condition));
        statement.0.push(action);
    }
    let statements = by_sid.into_iter().map(|(sid, (actions, on, when))| {
        let mut statement =
            json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": on });
        if let Some(when) = when {
            statement["Condition"] = when;
        }
        statement
    });
    json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() })
}

fn scope(action: &str) -> (&'static str, Value, Option<Value>) {
    const ROLES: &str = "arn:*:iam::*:role/landfall/*";
    let (service, _) = action.split_once(':').unwrap();
    match (service, action) {
        (_, "iam:PassRole") => (
            "PassInstanceRoles",
            json!(ROLES),
            Some(
                json!({ "StringEquals": { "iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"] } }),
            ),
        ),
        (_, "iam:CreateServiceLinkedRole") => (
            "ServiceLinkedRoles",
            json!("arn:*:iam::*:role/aws-service-role/*"),
            Some(
                json!({ "StringEquals": { "iam:AWSServiceName": ["autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com"] } }),
            ),
        ),
        // A listing filters by path, and IAM does not always check the same resource for it. An
        // absent resource has no path: only with `*` does AWS report the absence instead of a
        // denial.
        (_, "iam:GetInstanceProfile" | "iam:ListInstanceProfiles" | "iam:ListRoles") => {
            ("Anything", json!("*"), None)
        }
        ("iam", _) => (
            "InstanceRoles",
            json!([ROLES, "arn:*:iam::*:instance-profile/landfall/*"]),
            None,
        ),
        // The newest machine image is in a public parameter of AWS.
        (_, "ssm:GetParameter") => (
            "ReadParameters",
            json!([
                "arn:*:ssm:*:*:parameter/landfall/*",
                "arn:*:ssm:*::parameter/aws/service/ami-amazon-linux-latest/*"
            ]),
            None,
        ),
        ("ssm", _) => ("Locks", json!("arn:*:ssm:*:*:parameter/landfall/*"), None),
        (_, "ecr:GetAuthorizationToken") => ("Anything", json!("*"), None),
        ("ecr", _) => ("Repositories", json!("arn:*:ecr:*:*:repository/*"), None),
        _ => ("Anything", json!("*"), None),
    }
}

/// Every action named in the crates' calls: other stacks and changes than the test's need them.
fn named_in_the_sources() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut actions = BTreeSet::new();
    for crate_of_kinds in [
        "aws/src",
        "network/src/aws",
        "compute/src/aws",
        "lb/src/aws",
    ]
    .into_iter()
    .chain(["container/src/aws"])
    {
        collect(&root.join(crate_of_kinds), &mut actions);
    }
    actions
}

fn collect(dir: &Path, actions: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, actions);
            continue;
        }
        let source = std::fs::read_to_string(path).unwrap();
        // Actions of instances, and of tests, do not belong to the operator's policy.
        let code = source.split("#[cfg(test)]").next().unwrap();
        let code = without_documents(code);
        actions.extend(
            code.split('"')
                .filter(|text| is_action(text))
                .map(str::to_owned),
        );
    }
}

/// Without raw strings: those are documents, such as the trust policy for EC2.
fn without_documents(code: &str) -> String {
    let mut parts = code.split("r#\"");
    let before = parts.next().unwrap_or_default().to_owned();
    parts.fold(before, |code, part| {
        code + part.split_once("\"#").map_or("", |(_, after)| after)
    })
}

fn is_action(text: &str) -> bool {
    const SERVICES: [&str; 8] = [
        "autoscaling",
        "ec2",
        "ecr",
        "elasticloadbalancing",
        "iam",
        "servicequotas",
        "ssm",
        "sts",
    ];
    text.split_once(':').is_some_and(|(service, action)| {
        SERVICES.contains(&service)
            && action.starts_with(|first: char| first.is_ascii_uppercase())
            && action.chars().all(|c| c.is_ascii_alphanumeric())
    })
}

/// The policy in the repository.
pub(crate) fn policy() -> Value {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

/// The actions that a policy allows.
pub(crate) fn allowed(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    statements
        .flat_map(|statement| statement["Action"].as_array().unwrap())
        .map(|action| action.as_str().unwrap().to_owned())
        .collect()
}

fn destroy(account: &Account) {
    account
        .landfall(&["destroy", "--yes", "--stack", "digipay"])
        .ended_with(0);
}

#[tokio::test]
async fn needs_emulators_operator_policy_matches_the_calls() {
    let account = Account::new(EXAMPLE).await;
    account.landfall(&["deploy"]).ended_with(0);
    account.write(
        "landfall.toml",
        &EXAMPLE.replace("port     = 8000", "port     = 9000"),
    );
    account.landfall(&["deploy", "--yes"]).ended_with(0);
    destroy(&account);

    for call in account.aws.endpoint.calls() {
        let named = match call.service.as_str() {
            "iam" if call.action.starts_with("Create") => call.field("Path").to_owned(),
            "ssm" => call.json()["Name"].as_str().unwrap().to_owned(),
            _ => continue,
        };
        let ami = call.is("ssm:GetParameter") && named.starts_with("/aws/service/ami-amazon-linux");
        assert!(named.starts_with("/landfall/") || ami, "{call}: {named}");
    }
    let called: BTreeSet<String> = account.calls().into_keys().collect();
    let needed = called
        .iter()
        .cloned()
        .chain(named_in_the_sources())
        .chain(
            NO_CALLS
                .iter()
                .flat_map(|(actions, _)| *actions)
                .map(|one| (*one).to_owned()),
        )
        .collect();
    let policy = statements(&needed);
    if std::env::var_os("UPDATE_POLICY").is_some() {
        std::fs::write(FILE, format!("{policy:#}\n")).unwrap();
        return;
    }
    let file = self::policy();
    let (is, should) = (allowed(&file), allowed(&policy));
    // A deploy never uses another role than the credentials' own.
    assert!(!is.contains("sts:AssumeRole"), "{is:?}");
    let missing: Vec<_> = should.difference(&is).collect();
    let needless: Vec<_> = is.difference(&should).collect();
    assert!(
        missing.is_empty() && needless.is_empty() && file == policy,
        "cli/src/iam/operator.json lacks {missing:?} and has {needless:?} that nobody calls: \
         UPDATE_POLICY=1 writes it anew"
    );
    eprintln!(
        "{} actions: {} called here, {} in all others",
        is.len(),
        is.intersection(&called).count(),
        is.difference(&called).count()
    );
}
