//! From a project to a balancer's name, with a change, and a destroy.

use crate::account::{Account, EXAMPLE, Took};
use crate::eye::{beyond, everything, look, picture, what_is_there};

/// All resources of the example: `example.txt` has a line for each one that boto3 finds.
const WHOLE: &str = include_str!("example.txt");

/// Every ingress rule of every group of the VPC.
const WAYS_IN: [&str; 4] = [
    "rule balancer in tcp 80-80 0.0.0.0/0",
    "rule bastion in tcp 22-22 203.0.113.7/32",
    "rule web in tcp 22-22 group/bastion",
    "rule web in tcp 8000-8000 group/balancer",
];

/// Resources that are still listed after the destroy. AWS also lists endpoints, instances and
/// gateways for a while; moto never deletes their interfaces and a VPC's own ACL.
const MOTO_KEEPS: [&str; 6] = [
    "1 endpoint deleted",
    "3 instance terminated",
    "2 interface available",
    "2 interface in-use",
    "2 nat-gateway deleted",
    "1 network-acl",
];

/// The maximum number of calls of a deploy, a deploy without changes, and a destroy. They take 110,
/// 35 and 99; a slow machine probes unfinished resources a few times more.
const CALLS: [usize; 3] = [120, 38, 110];

#[tokio::test]
async fn needs_emulators_deploy_prints_the_name_destroy_leaves_none() {
    let account = Account::new(EXAMPLE).await;
    let before = everything(&account).await;

    let (deployed, deploy) = account.measured(&["deploy", "--json"]);
    let result = deployed.ended_with(0).json();
    let url = result["url"].as_str().unwrap();
    assert!(
        url.starts_with("http://digipay-main-") && url.ends_with(".amazonaws.com/"),
        "{url}"
    );

    let seen = picture(&account).await;
    assert_eq!(
        seen,
        WHOLE.lines().collect::<Vec<_>>(),
        "{}",
        seen.join("\n")
    );
    let into_groups = seen
        .iter()
        .filter(|line| line.starts_with("rule ") && line.contains(" in "));
    assert_eq!(into_groups.collect::<Vec<_>>(), WAYS_IN);
    // The VPC's own group cannot be tagged at its creation, and has no rules.
    let untagged = seen.iter().filter(|line| line.contains("untagged("));
    assert_eq!(untagged.collect::<Vec<_>>(), ["group untagged(default)"]);

    let (again, no_change) = account.measured(&["deploy", "--json"]);
    assert_eq!(again.ended_with(0).json()["url"], result["url"]);
    let written = no_change.calls.keys().filter(|call| {
        let action = call.split(':').nth(1).unwrap();
        !["Describe", "Get", "List"]
            .iter()
            .any(|read| action.starts_with(read))
    });
    // Taking and releasing the lock.
    assert_eq!(
        written.collect::<Vec<_>>(),
        ["ssm:DeleteParameter", "ssm:PutParameter"]
    );

    // By its name alone: the file is gone.
    std::fs::remove_file(account.path("landfall.toml")).unwrap();
    let (destroyed, destroy) = account.measured(&["destroy", "--yes", "--stack", "digipay"]);
    destroyed.ended_with(0);
    let left = look(&account).await;
    assert_eq!(what_is_there(&left), [""; 0], "{left:#}");
    assert_eq!(beyond(&before, &everything(&account).await), MOTO_KEEPS);

    let calls = [&deploy, &no_change, &destroy].map(Took::total);
    assert!(
        calls.iter().zip(CALLS).all(|(calls, most)| *calls <= most),
        "{calls:?}"
    );
}
