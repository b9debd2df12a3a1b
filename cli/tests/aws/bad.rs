//! Faults of a project, an account or a network, and their messages.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use landfall_testkit::scripted::Answer;
use serde_json::{Value, json};

use crate::account::{Account, EXAMPLE, Ran};
use crate::eye::{look, what_is_there};

/// The time limit for an error about credentials or an endpoint: seconds, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Runs a deploy twice that fails both times, and returns the text and the JSON.
fn refused(account: &Account, code: i32, args: &[&str], env: &[(&str, &str)]) -> (Ran, Value) {
    let run = |more: &[&str]| {
        let mut command = account.command(&["deploy"]);
        command.args(args).args(more);
        for (name, value) in env {
            match *value {
                "" => command.env_remove(name),
                value => command.env(name, value),
            };
        }
        let ran = Ran::from(command.output().unwrap()).ended_with(code);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    };
    let text = run(&[]);
    eprintln!("{}", text.stderr);
    let json = run(&["--json"]).json();
    assert_eq!(json["result"], "error", "{json:#}");
    assert_eq!(json["exit_code"], code, "{json:#}");
    (text, json)
}

/// Fails the test unless the output contains all of this.
#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for words in words {
        assert!(
            ran.stderr.contains(words),
            "{words} is not said:\n{}",
            ran.stderr
        );
    }
}

/// Checks that no call changed the account, except for taking and releasing the lock.
#[track_caller]
fn nothing_was_written(account: &Account) {
    let mut written: Vec<String> = account.calls().into_keys().collect();
    written.retain(|call| {
        let (_, verb) = call.split_once(':').unwrap();
        !["Describe", "Get", "List"]
            .iter()
            .any(|reads| verb.starts_with(reads))
            && !["ssm:PutParameter", "ssm:DeleteParameter"].contains(&call.as_str())
    });
    assert_eq!(written, [""; 0]);
}

async fn nothing_is_there(account: &Account) {
    let seen = look(account).await;
    assert_eq!(what_is_there(&seen), [""; 0], "{seen:#}");
}

#[tokio::test]
async fn needs_emulators_missing_credentials_name_the_sources() {
    let account = Account::new(EXAMPLE).await;
    let start = Instant::now();
    let without = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let (text, json) = refused(&account, 1, &[], &without);
    assert!(start.elapsed() < SOON);
    says(
        &text,
        &[
            "no AWS credentials",
            "because:",
            "aws sso login",
            "--profile",
        ],
    );
    assert_eq!(json["errors"][0]["kind"], "denied");
    assert_eq!(account.calls().len(), 0);
}

#[tokio::test]
async fn needs_emulators_an_expired_token_is_to_be_renewed() {
    // https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    let account = Account::scripted(EXAMPLE, |call, _| {
        Some(call.error(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ))
    })
    .await;
    let (text, json) = refused(&account, 1, &[], &[("AWS_SESSION_TOKEN", "old")]);
    says(
        &text,
        &["sts:GetCallerIdentity", "expired", "sign in again"],
    );
    assert_eq!(json["errors"][0]["kind"], "denied");
    nothing_was_written(&account);
}

#[tokio::test]
async fn needs_emulators_a_region_that_does_not_exist_is_named() {
    let account = Account::new(EXAMPLE).await;
    // AWS's own endpoints: a name that does not resolve in this sandbox.
    let start = Instant::now();
    let (text, _) = refused(
        &account,
        1,
        &["--region", "eu-nowhere-7"],
        &[("AWS_ENDPOINT_URL", "")],
    );
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    says(&text, &["eu-nowhere-7", "hint:"]);
    assert_eq!(account.calls().len(), 0);
}

#[tokio::test]
async fn needs_emulators_unknown_zones_are_refused_first() {
    let file = EXAMPLE.replace("zones   = 2", "zones   = 4");
    let account = Account::new(&file).await;
    let (text, json) = refused(&account, 2, &[], &[]);
    says(
        &text,
        &[
            "landfall.toml:6:11: error: the stack needs 4 zones, and the account can use 3 in eu-central-1",
            "\"eu-central-1a\", \"eu-central-1b\", \"eu-central-1c\"",
            "nothing was changed",
        ],
    );
    assert_eq!(json["faults"][0]["line"], 6, "{json:#}");
    nothing_was_written(&account);
    nothing_is_there(&account).await;
}

/// moto has AWS's default quotas: 5 VPCs in a region.
#[tokio::test]
async fn needs_emulators_vpc_quota_is_checked_first() {
    let account = Account::new(EXAMPLE).await;
    let others = "import boto3\n[boto3.client('ec2').create_vpc(CidrBlock=f'10.{n}.0.0/16') for n in range(1, 5)]";
    account.aws.moto.python(others).await.unwrap();
    let (text, json) = refused(&account, 1, &[], &[]);
    says(
        &text,
        &[
            "1 more VPCs in eu-central-1, and 5 of the account's 5 are in use",
            "Service Quotas",
            "nothing was changed",
        ],
    );
    assert_eq!(json["stage"], "preflight", "{json:#}");
    assert_eq!(json["errors"][0]["kind"], "limit");
    nothing_was_written(&account);
    nothing_is_there(&account).await;
}

/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
#[tokio::test]
async fn needs_emulators_attempts_are_bounded_by_the_option() {
    let account = Account::scripted(EXAMPLE, |call, _| {
        call.is("ssm:GetParameter")
            .then(|| call.error(500, "InternalServerError", "not now"))
    })
    .await;
    account.write("config", "[profile three]\nmax_attempts = 3\n");
    for (said, name, value) in [
        (2, "AWS_MAX_ATTEMPTS", "2"),
        (3, "AWS_MAX_ATTEMPTS", "3"),
        (3, "AWS_CONFIG_FILE", "config"),
    ] {
        let mut unlock = account.command(&["unlock", "--yes"]);
        unlock.env(name, value);
        if name == "AWS_CONFIG_FILE" {
            unlock.args(["--profile", "three"]);
        }
        Ran::from(unlock.output().unwrap()).ended_with(1);
        assert_eq!(account.calls()["ssm:GetParameter"], said, "{name}={value}");
    }
}

#[tokio::test]
async fn needs_emulators_another_account_than_the_files_is_refused() {
    let account = Account::new(&format!("account = \"999999999999\"\n{EXAMPLE}")).await;
    let (text, _) = refused(&account, 2, &[], &[]);
    says(&text, &["999999999999", "123456789012", "--profile"]);
    let calls = account.calls();
    let asked: Vec<&String> = calls.keys().collect();
    assert_eq!(asked, ["sts:GetCallerIdentity"]);
}

#[tokio::test]
async fn needs_emulators_dead_endpoint_is_named_within_seconds() {
    let account = Account::new(EXAMPLE).await;
    // Free a moment ago, and no other process uses it.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let start = Instant::now();
    let (text, json) = refused(&account, 1, &[], &[("AWS_ENDPOINT_URL", &url)]);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    says(
        &text,
        &[
            "sts:GetCallerIdentity",
            "because: Connection refused",
            &url,
            "AWS_ENDPOINT_URL",
        ],
    );
    assert_eq!(json["errors"][0]["kind"], "unavailable");
    assert_eq!(json["errors"][0]["left"], "nothing");
}

#[tokio::test]
async fn needs_emulators_a_page_of_html_is_quoted_and_told_from_aws() {
    let account = Account::scripted(EXAMPLE, |_, _| {
        let page = "<!DOCTYPE html><html><body><h1>Bad gateway of Example Corp</h1></body></html>";
        Some(Answer {
            content_type: "text/html".to_owned(),
            ..Answer::xml(page).with_status(500)
        })
    })
    .await;
    let start = Instant::now();
    let (text, json) = refused(&account, 1, &[], &[]);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    says(&text, &["status 500", "Example Corp", "proxies"]);
    assert_eq!(json["errors"][0]["kind"], "unavailable");
    nothing_was_written(&account);
}

#[tokio::test]
async fn needs_emulators_denied_action_undoes_the_first_deploy() {
    // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors
    let account = Account::scripted(EXAMPLE, |call, _| {
        call.is("ec2:CreateNatGateway").then(|| {
            call.error(
                403,
                "UnauthorizedOperation",
                "You are not authorized to perform this operation. \
                 Encoded authorization failure message: 0f0f0f",
            )
        })
    })
    .await;
    let (text, json) = refused(&account, 1, &[], &[]);
    says(
        &text,
        &[
            "nat-gateway/",
            "ec2:CreateNatGateway",
            "perform this operation. (UnauthorizedOperation)",
            "decode-authorization-message --encoded-message 0f0f0f",
            "iam-policy",
            "nothing is left",
        ],
    );
    assert_eq!(json["errors"][0]["kind"], "denied");
    assert_eq!(json["remains"]["what"], "rolled-back", "{json:#}");
    assert!(account.calls().contains_key("ec2:CreateVpc"));
    nothing_is_there(&account).await;
}

#[tokio::test]
async fn needs_emulators_quota_midway_undoes_the_first_deploy() {
    // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
    let account = Account::scripted(EXAMPLE, |call, _| {
        call.is("ec2:CreateNatGateway").then(|| {
            call.error(
                400,
                "NatGatewayLimitExceeded",
                "Performing this operation would exceed the limit of 5 NAT gateways",
            )
        })
    })
    .await;
    let (text, json) = refused(&account, 1, &[], &[]);
    says(
        &text,
        &[
            "nat-gateway/",
            "limit of 5 NAT gateways",
            "Service Quotas",
            "nothing is left",
        ],
    );
    assert_eq!(json["errors"][0]["kind"], "limit");
    nothing_is_there(&account).await;
}

#[tokio::test]
async fn needs_emulators_failed_change_keeps_what_was_deployed() {
    let account = Account::scripted(EXAMPLE, |call, _| {
        call.is("ec2:CreateLaunchTemplateVersion").then(|| {
            call.error(
                403,
                "UnauthorizedOperation",
                "You are not authorized to perform this operation.",
            )
        })
    })
    .await;
    account.landfall(&["deploy"]).ended_with(0);
    account.write("landfall.toml", &EXAMPLE.replace("t3.micro", "t3.small"));
    let (text, json) = refused(&account, 1, &[], &[]);
    says(
        &text,
        &[
            "launch-template/",
            "ec2:CreateLaunchTemplateVersion",
            "the stack has",
        ],
    );
    let left = json["remains"]["keys"].as_array().unwrap();
    assert!(left.len() > 25, "{json:#}");
}

#[tokio::test]
async fn needs_emulators_wrong_architecture_is_refused_first() {
    // An image for another processor than the instance type's, and a type that no zone offers.
    let service = "instance = \"t3.micro\"";
    let arm = format!("{service}\nimage = {{ platform = \"linux/arm64\" }}");
    let account = Account::new(&EXAMPLE.replace(service, &arm)).await;
    let (text, json) = refused(&account, 2, &[], &[]);
    says(
        &text,
        &[
            "linux/arm64",
            "t3.micro",
            "linux/amd64",
            "nothing was changed",
        ],
    );
    assert_eq!(json["stage"], "preflight", "{json:#}");
    nothing_was_written(&account);

    let rare = EXAMPLE.replace("t3.micro", "p5.48xlarge");
    account.write("landfall.toml", &rare);
    let (text, _) = refused(&account, 2, &[], &[]);
    says(&text, &["p5.48xlarge", "nothing was changed"]);
    nothing_was_written(&account);
    nothing_is_there(&account).await;
}

#[tokio::test]
async fn needs_emulators_account_and_region_are_printed_first() {
    // The first create waits until the line was read: if it were printed later, the test would time
    // out.
    let (release, reported) = std::sync::mpsc::channel::<()>();
    let reported = std::sync::Mutex::new(reported);
    let account = Account::scripted(EXAMPLE, move |call, _| {
        call.action.starts_with("Create").then(|| {
            let reported = reported.lock().unwrap().recv_timeout(SOON);
            match reported {
                Ok(()) => call.error(403, "UnauthorizedOperation", "that is enough"),
                Err(_) => call.error(403, "UnauthorizedOperation", "it was not said before"),
            }
        })
    })
    .await;
    let mut run = account
        .command(&["deploy", "--region", "eu-west-1"])
        .env("AWS_REGION", "eu-central-1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = run.stderr.take().unwrap();
    let mut said = String::new();
    let mut buffer = [0; 4096];
    let mut released = false;
    loop {
        let read = stderr.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        said.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if !released && said.contains("AWS account 123456789012 in eu-west-1") {
            // Once per create.
            for _ in 0..100 {
                let _ = release.send(());
            }
            released = true;
        }
    }
    assert_eq!(run.wait().unwrap().code(), Some(1), "{said}");
    assert!(released, "{said}");
    assert!(said.contains("that is enough"), "{said}");
    assert!(!said.contains("it was not said before"), "{said}");

    // Without the flag, and without a region in the file, the environment's applies.
    let ran = Ran::from(account.command(&["plan"]).output().unwrap());
    says(&ran, &["AWS account 123456789012 in "]);
    assert!(!ran.stderr.contains("eu-west-1"), "{}", ran.stderr);
}

#[tokio::test]
async fn needs_emulators_lock_excludes_a_second_run() {
    let account = Account::new(EXAMPLE).await;
    let holder = json!({
        "doing": "deploy", "who": "ana@build-3", "pid": 4711, "since": "2026-11-22T09:30:00Z",
    });
    let take = format!(
        "import boto3\nboto3.client('ssm').put_parameter(Name='/landfall/digipay/lock', Type='String', Value='''{holder}''')"
    );
    account.aws.moto.python(&take).await.unwrap();

    let (text, _) = refused(&account, 1, &[], &[]);
    says(&text, &["ana@build-3", "4711", "09:30", "unlock"]);
    nothing_was_written(&account);
    let waited = account.landfall(&["deploy", "--wait=1s"]).ended_with(1);
    eprintln!("{}", waited.stderr);
    says(&waited, &["ana@build-3"]);
    nothing_was_written(&account);

    // No terminal for a question.
    let asked = account.landfall(&["unlock"]).ended_with(2);
    says(&asked, &["ana@build-3", "--yes"]);
    let broken = account.landfall(&["unlock", "--yes"]).ended_with(0);
    assert!(broken.stdout.contains("ana@build-3"), "{}", broken.stdout);
    let again = account
        .landfall(&["unlock", "--yes", "--json"])
        .ended_with(0);
    assert_eq!(again.json()["holder"], Value::Null);
    nothing_is_there(&account).await;
}
