//! The sources of credentials, region and endpoints: the settings shared by AWS's SDKs and tools.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use landfall_testkit::scripted::{Answer, Endpoint};
use serde_json::Value;

use crate::account::{Account, EXAMPLE, Ran};

/// Variables that would override a profile.
const SETTINGS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
];

const USERS: &str = r#"
import boto3, json
iam = boto3.client("iam")
def key(user):
    iam.create_user(UserName=user)
    return iam.create_access_key(UserName=user)["AccessKey"]
print(json.dumps({user: key(user) for user in ("ana", "ben")}, default=str))
"#;

/// A second endpoint for the same account, with its own list of calls.
fn door(account: &Account) -> Endpoint {
    let door = Endpoint::builder().upstream(account.aws.moto.address());
    door.start().unwrap()
}

/// The number of calls, by service.
fn services(door: &Endpoint) -> BTreeMap<String, usize> {
    let mut services = BTreeMap::new();
    for call in door.calls() {
        *services.entry(call.service).or_default() += 1;
    }
    services
}

#[tokio::test]
async fn needs_emulators_profile_sets_identity_region_and_endpoints() {
    let account = Account::new(EXAMPLE).await;
    let keys: Value = serde_json::from_str(&account.aws.moto.python(USERS).await.unwrap()).unwrap();
    let (all, ec2) = (door(&account), door(&account));
    let secrets = |user: &str| {
        let key = |part: &str| keys[user][part].as_str().unwrap();
        format!(
            "aws_access_key_id = {}\naws_secret_access_key = {}\n",
            key("AccessKeyId"),
            key("SecretAccessKey")
        )
    };
    account.write(
        "config",
        &format!(
            "[default]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:1\n\n\
             [profile sandbox]\nregion = eu-west-1\nendpoint_url = {}\nservices = apart\n\n\
             [services apart]\nec2 =\n  endpoint_url = {}\n",
            all.url(),
            ec2.url()
        ),
    );
    account.write(
        "credentials",
        &format!(
            "[default]\n{}\n[sandbox]\n{}",
            secrets("ben"),
            secrets("ana")
        ),
    );
    let command = |args: &[&str]| {
        let mut command = account.command(args);
        for setting in SETTINGS {
            command.env_remove(setting);
        }
        command
            .env("AWS_CONFIG_FILE", account.path("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", account.path("credentials"));
        command
    };
    let by_flag = command(&["plan", "--profile", "sandbox"]);
    let mut by_variable = command(&["plan"]);
    by_variable.env("AWS_PROFILE", "sandbox");
    let mut over_the_variable = command(&["plan", "--profile", "sandbox"]);
    over_the_variable.env("AWS_PROFILE", "default");
    for mut way in [by_flag, by_variable, over_the_variable] {
        let ran = Ran::from(way.output().unwrap()).ended_with(0);
        let said = "AWS account 123456789012 in eu-west-1, as arn:aws:iam::123456789012:user/ana";
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        let (all, ec2) = (services(&all), services(&ec2));
        assert!(
            all.contains_key("sts") && all.contains_key("iam"),
            "{all:?}"
        );
        assert!(!all.contains_key("ec2"), "{all:?}");
        assert_eq!(ec2.keys().collect::<Vec<_>>(), ["ec2"]);
    }
    assert_eq!(account.calls().len(), 0);

    // A flag overrides the profile.
    let mut elsewhere = command(&["plan", "--profile", "sandbox", "--region", "eu-north-1"]);
    let ran = Ran::from(elsewhere.output().unwrap()).ended_with(0);
    assert!(ran.stderr.contains(" in eu-north-1, as "), "{}", ran.stderr);

    let missing = command(&["plan", "--profile", "sandpit"]).output();
    let ran = Ran::from(missing.unwrap()).ended_with(2);
    eprintln!("{}", ran.stderr);
    assert!(ran.stderr.contains("sandpit"), "{}", ran.stderr);
}

#[tokio::test]
async fn needs_emulators_service_endpoint_serves_that_service_only() {
    let account = Account::new(EXAMPLE).await;
    let ec2 = door(&account);
    let mut plan = account.command(&["plan"]);
    plan.env("AWS_ENDPOINT_URL_EC2", ec2.url());
    Ran::from(plan.output().unwrap()).ended_with(0);
    assert_eq!(services(&ec2).keys().collect::<Vec<_>>(), ["ec2"]);
    let others = account.calls();
    assert!(others.contains_key("sts:GetCallerIdentity"), "{others:?}");
    assert!(
        !others.keys().any(|call| call.starts_with("ec2:")),
        "{others:?}"
    );
}

#[tokio::test]
async fn needs_emulators_attempts_follow_settings_default_eight() {
    let account = Account::new(EXAMPLE).await;
    // A transient error except throttling, which the engine retries by itself.
    let broken = || {
        Endpoint::builder()
            .upstream(account.aws.moto.address())
            .script(|call, _| {
                call.is("ec2:DescribeVpcs")
                    .then(|| Answer::xml("out of order").with_status(503))
            })
            .start()
            .unwrap()
    };
    let settings = [
        (Some("1"), None, 1),
        (Some("2"), Some("standard"), 2),
        (Some("2"), Some("adaptive"), 2),
        (None, None, 8),
    ];
    // Eight runs take a while, so all of them run concurrently.
    let runs: Vec<_> = settings
        .into_iter()
        .map(|(attempts, mode, expected)| {
            let endpoint = broken();
            let mut plan: Command = account.command(&["plan"]);
            plan.env("AWS_ENDPOINT_URL", endpoint.url());
            for (name, value) in [("AWS_MAX_ATTEMPTS", attempts), ("AWS_RETRY_MODE", mode)] {
                if let Some(value) = value {
                    plan.env(name, value);
                }
            }
            let plan = plan.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
            (endpoint, plan.unwrap(), (attempts, mode), expected)
        })
        .collect();
    for (endpoint, plan, setting, expected) in runs {
        let ended = plan.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("ec2:DescribeVpcs"), "{said}");
        let calls = endpoint.calls();
        let tried = calls.iter().filter(|call| call.is("ec2:DescribeVpcs"));
        assert_eq!(tried.count(), expected, "{setting:?}: {said}");
    }
}
