//! Manual scaling on AWS: the group's capacity changes, the file's number does not.

use serde_json::json;

use crate::account::{Account, EXAMPLE};
use crate::eye::look;

#[tokio::test]
async fn needs_emulators_scaling_changes_capacity_not_the_plan() {
    let account = Account::new(EXAMPLE).await;
    account.landfall(&["deploy"]).ended_with(0);
    let group = || async {
        let group = look(&account).await["scaling"][0].take();
        let running = group["Instances"].as_array().unwrap().len();
        let tags = group["Tags"].as_array().unwrap().iter();
        let desired = tags
            .filter(|tag| tag["Key"] == "landfall:desired")
            .map(|tag| tag["Value"].clone())
            .next()
            .unwrap();
        (group["DesiredCapacity"].clone(), running, desired)
    };
    assert_eq!(group().await, (json!(2), 2, json!("2")));

    let scaled = account
        .landfall(&["scale", "web=3", "--json"])
        .ended_with(0)
        .json();
    let service = &scaled["services"][0];
    assert_eq!(
        (
            &service["before"],
            &service["desired"],
            &service["policies"]
        ),
        (&json!(2), &json!(3), &json!([{ "cpu": 60 }]))
    );
    assert_eq!(service["targets"].as_array().unwrap().len(), 3);
    assert_eq!(group().await, (json!(3), 3, json!("2")));

    // An unchanged number in the file changes nothing, and a deploy keeps the capacity.
    let plan = account
        .landfall(&["plan", "--detailed-exitcode"])
        .ended_with(0);
    assert!(plan.stdout.contains("Nothing to do"), "{plan:#?}");
    account.landfall(&["deploy"]).ended_with(0);
    assert_eq!(group().await, (json!(3), 3, json!("2")));
    let status = account.landfall(&["status"]).ended_with(0).stdout;
    assert!(
        status.contains("desired 3 (2 in the file), min 1, max 4"),
        "{status}"
    );

    let refused = account.landfall(&["scale", "web=5"]).ended_with(2).stderr;
    assert!(
        refused.contains("web has between 1 and 4 instances, and not 5"),
        "{refused}"
    );
    let again = account.landfall(&["scale", "web=3"]).ended_with(0).stdout;
    assert!(
        again.contains("3 instances already")
            && again.contains("a policy may change it again: processors 60 % busy"),
        "{again}"
    );
    account.landfall(&["scale", "web=1"]).ended_with(0);
    assert_eq!(group().await, (json!(1), 1, json!("2")));
    // A changed number in the file applies.
    account.write(
        "landfall.toml",
        &EXAMPLE.replace("desired = 2", "desired = 4"),
    );
    account.landfall(&["deploy"]).ended_with(0);
    assert_eq!(group().await, (json!(4), 4, json!("4")));
}
