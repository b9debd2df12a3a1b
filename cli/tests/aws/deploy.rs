//! From a project to a balancer's name, changed, and back to nothing.

use std::time::Instant;

use crate::account::{Account, EXAMPLE};
use crate::eye::{list, look, what_is_there};

#[tokio::test]
async fn needs_emulators_a_deploy_ends_with_the_balancers_name_and_a_destroy_with_nothing() {
    let account = Account::new(EXAMPLE).await;

    let start = Instant::now();
    let deployed = account.landfall(&["deploy", "--json"]).ended_with(0);
    let took = start.elapsed();
    let calls = account.calls();
    let total: usize = calls.values().sum();
    eprintln!(
        "deploy: {total} calls, {:.1} s\n{calls:#?}",
        took.as_secs_f64()
    );
    let result = deployed.json();
    let url = result["url"].as_str().unwrap();
    assert!(
        url.starts_with("http://digipay-main-") && url.ends_with(".amazonaws.com/"),
        "{url}"
    );

    let seen = look(&account).await;
    eprintln!("{:?}", what_is_there(&seen));
    assert_eq!(list(&seen["vpcs"])[0]["CidrBlock"], "10.0.0.0/16");

    let start = Instant::now();
    let again = account.landfall(&["deploy", "--json"]).ended_with(0).json();
    let took = start.elapsed();
    let calls = account.calls();
    let total: usize = calls.values().sum();
    eprintln!(
        "nothing to do: {total} calls, {:.1} s\n{calls:#?}",
        took.as_secs_f64()
    );
    assert_eq!(again["url"], result["url"]);

    let start = Instant::now();
    account
        .landfall(&["destroy", "--yes", "--stack", "digipay"])
        .ended_with(0);
    let took = start.elapsed();
    let calls = account.calls();
    let total: usize = calls.values().sum();
    eprintln!(
        "destroy: {total} calls, {:.1} s\n{calls:#?}",
        took.as_secs_f64()
    );
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
}
