//! Failures in the middle of a deploy: their messages, and the remaining resources.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use landfall_testkit::scripted::{Answer, Call, Protocol};

use crate::account::{Account, EXAMPLE, Ran};
use crate::eye::{list, look, picture, what_is_there};

/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>; EC2 has another name
/// for it:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors>.
fn expired(call: &Call) -> Answer {
    let why = "The security token included in the request is expired";
    match call.protocol() {
        Protocol::Ec2 => call.error(400, "RequestExpired", "Request has expired."),
        Protocol::Query => call.error(403, "ExpiredToken", why),
        Protocol::Json => call.error(400, "ExpiredTokenException", why),
    }
}

/// Fails the test unless the output contains all of this.
#[track_caller]
fn says(ran: &Ran, words: &[&str]) {
    for words in words {
        let said = ran.stderr.contains(words) || ran.stdout.contains(words);
        assert!(said, "{words} is not said:\n{ran:#?}");
    }
}

#[tokio::test]
async fn needs_emulators_expired_token_is_continued_with_a_new_one() {
    let (is_expired, is_renewed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let account = Account::scripted(EXAMPLE, {
        let (is_expired, is_renewed) = (Arc::clone(&is_expired), Arc::clone(&is_renewed));
        move |call, _| {
            if is_renewed.load(Ordering::SeqCst) {
                return None;
            }
            if call.is("ec2:CreateNatGateway") {
                is_expired.store(true, Ordering::SeqCst);
            }
            is_expired.load(Ordering::SeqCst).then(|| expired(call))
        }
    })
    .await;

    let failed = account.landfall(&["deploy"]).ended_with(1);
    eprintln!("{}", failed.stderr);
    says(
        &failed,
        &[
            "nat-gateway/a",
            "ec2:CreateNatGateway: Request has expired. (RequestExpired)",
            "sign in again",
            // With these credentials nothing can be deleted, listed or unlocked.
            "the remaining resources are unknown",
            "the lock of digipay could not be released",
            "`unlock` breaks it",
        ],
    );
    let left = look(&account).await;
    let there = what_is_there(&left);
    for kind in ["vpcs", "subnets", "addresses", "parameters"] {
        assert!(there.contains(&kind), "{there:?}");
    }
    assert!(!there.contains(&"nats"), "{there:?}");

    is_renewed.store(true, Ordering::SeqCst);
    account.landfall(&["unlock", "--yes"]).ended_with(0);
    account.landfall(&["deploy"]).ended_with(0);
    let undisturbed = Account::new(EXAMPLE).await;
    undisturbed.landfall(&["deploy"]).ended_with(0);
    assert_eq!(picture(&account).await, picture(&undisturbed).await);
}

#[tokio::test]
async fn needs_emulators_html_answer_is_retried_then_quoted() {
    const PAGE: &str =
        "<!DOCTYPE html><html><body><h1>Gateway of Example Corp is tired</h1></body></html>";
    let account = Account::scripted(EXAMPLE, |call, _| {
        call.is("ec2:CreateNatGateway").then(|| Answer {
            content_type: "text/html".to_owned(),
            ..Answer::xml(PAGE).with_status(500)
        })
    })
    .await;
    let mut deploy = account.command(&["deploy", "--json"]);
    // This test is about the engine's retries.
    deploy.env("AWS_MAX_ATTEMPTS", "1");
    let failed = Ran::from(deploy.output().unwrap()).ended_with(1);
    let last = failed.json();
    eprintln!("{last:#}");
    let errors = list(&last["errors"]);
    assert_eq!(errors.len(), 2, "{last:#}");
    for error in errors {
        let message = error["message"].as_str().unwrap();
        for part in [
            "nat-gateway/",
            "ec2:CreateNatGateway was answered with status 500 and no error code",
            "tried ",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(error["kind"], "unavailable");
        assert_eq!(error["left"], "unknown");
        assert_eq!(error["details"][0], PAGE);
        assert!(
            error["hint"].as_str().unwrap().contains("proxies"),
            "{error:#}"
        );
    }
    assert_eq!(last["remains"]["what"], "rolled-back", "{last:#}");
    assert!(account.calls()["ec2:CreateNatGateway"] > 4);
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}

/// The offerings of three zones: these zones offer the example's type, and all offer another one.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html>
fn offerings(call: &Call, letters: &str) -> Option<Answer> {
    let offered = [("t3.micro", letters), ("t3.nano", "abc")];
    let items = offered.iter().flat_map(|(name, zones)| {
        zones.chars().map(move |zone| {
            format!(
                "<item><instanceType>{name}</instanceType><location>eu-central-1{zone}</location>\
                 <locationType>availability-zone</locationType></item>"
            )
        })
    });
    call.is("ec2:DescribeInstanceTypeOfferings").then(|| {
        let items: String = items.collect();
        call.result(&format!(
            "<instanceTypeOfferingSet>{items}</instanceTypeOfferingSet>"
        ))
    })
}

const LACKING: &str =
    "launch-template/web: t3.micro is not offered in eu-central-1a, eu-central-1b, eu-central-1c\n";

#[tokio::test]
async fn needs_emulators_missing_type_names_the_zones_that_have_it() {
    let three = EXAMPLE.replace("zones   = 2", "zones   = 3");
    let account = Account::scripted(&three, |call, _| offerings(call, "ab")).await;
    let refused = account.landfall(&["deploy"]).ended_with(2);
    says(
        &refused,
        &[
            "landfall.toml:6:11: error: the stack needs 3 zones, and the account can use 2 in eu-central-1",
            "zones of eu-central-1 offer t3.micro and t3.nano to the account: \"eu-central-1a\", \"eu-central-1b\"\n",
            "nothing was changed",
        ],
    );
    let last = account.landfall(&["deploy", "--json"]).ended_with(2).json();
    assert_eq!(last["faults"][0]["line"], 6, "{last:#}");
    assert!(
        !account
            .calls()
            .keys()
            .any(|call| call.starts_with("ec2:Create"))
    );
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}

#[tokio::test]
async fn needs_emulators_missing_type_without_describe_permission() {
    let three = EXAMPLE.replace("zones   = 2", "zones   = 3");
    let account = Account::scripted(&three, |call, _| {
        let denied = || call.error(403, "UnauthorizedOperation", "You are not authorized.");
        match call.action.as_str() {
            "DescribeInstanceTypes" => Some(denied()),
            // Without a zone that has the type, the choice of zones leaves it to the check of the plan.
            _ => offerings(call, ""),
        }
    })
    .await;
    let refused = account.landfall(&["deploy"]).ended_with(1);
    says(
        &refused,
        &[LACKING, "ec2:DescribeInstanceTypes", "nothing was changed"],
    );
}
