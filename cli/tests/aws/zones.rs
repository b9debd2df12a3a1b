//! The zones of an account: letters that are missing, and lists of names.

use crate::account::{Account, EXAMPLE};

/// The zones of the subnets that a plan creates.
fn planned(account: &Account, region: &str) -> Vec<String> {
    let plan = account.landfall(&["plan", "--json", "--region", region]);
    let plan = plan.ended_with(0).json();
    let resources = plan["resources"].to_string();
    let mut zones: Vec<String> = resources
        .split('"')
        .filter(|text| {
            text.strip_prefix(region)
                .is_some_and(|letter| letter.len() == 1)
        })
        .map(str::to_owned)
        .collect();
    zones.sort();
    zones.dedup();
    zones
}

#[tokio::test]
async fn needs_emulators_zones_are_those_of_the_account() {
    let account = Account::new(EXAMPLE).await;
    // moto has the zones that new accounts have.
    assert_eq!(
        planned(&account, "ap-northeast-1"),
        ["ap-northeast-1a", "ap-northeast-1c"]
    );
    assert_eq!(planned(&account, "us-west-1").len(), 2);

    let tokyo = ["--region", "ap-northeast-1"];
    let deploy = [&["deploy", "--json"][..], &tokyo].concat();
    account.landfall(&deploy).ended_with(0);
    let again = account.landfall(&deploy).ended_with(0).json();
    assert_eq!(again["changes"]["create"].as_array().unwrap().len(), 0);
    assert_eq!(again["changes"]["replace"].as_array().unwrap().len(), 0);
    let destroy = [&["destroy", "--yes"][..], &tokyo].concat();
    account.landfall(&destroy).ended_with(0);
}

#[tokio::test]
async fn needs_emulators_unusable_zones_are_shown_at_their_line() {
    let named = EXAMPLE.replace(
        "zones   = 2",
        "zones   = [\"ap-northeast-1a\", \"ap-northeast-1b\"]",
    );
    let account = Account::new(&named).await;
    let ran = account.landfall(&["plan", "--region", "ap-northeast-1"]);
    let ran = ran.ended_with(2);
    for text in [
        "landfall.toml:6:32",
        "the account cannot use the zone `ap-northeast-1b`",
        "\"ap-northeast-1a\", \"ap-northeast-1c\", \"ap-northeast-1d\"",
    ] {
        assert!(ran.stderr.contains(text), "{text}:\n{}", ran.stderr);
    }

    account.write(
        "landfall.toml",
        &EXAMPLE.replace("zones   = 2", "zones = 4"),
    );
    let ran = account.landfall(&["plan", "--region", "ap-northeast-1"]);
    let ran = ran.ended_with(2);
    let text = "the stack needs 4 zones, and the account can use 3 in ap-northeast-1";
    assert!(ran.stderr.contains(text), "{}", ran.stderr);
}
