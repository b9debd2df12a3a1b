//! From a project to a balancer's name, changed, and back to nothing.

use std::time::Instant;

use crate::account::{Account, EXAMPLE, Ran};
use crate::eye::{look, picture, what_is_there};

/// What the example has to come to, among others.
const PARTS: &[&str] = &[
    "vpc main 10.0.0.0/16 dns",
    "subnet private-a 10.0.0.0/19 eu-central-1a no-public-addresses",
    "subnet private-b 10.0.32.0/19 eu-central-1b no-public-addresses",
    "subnet public-a 10.0.192.0/22 eu-central-1a no-public-addresses",
    "subnet public-b 10.0.196.0/22 eu-central-1b no-public-addresses",
    "nat-gateway a available in public-a with nat-a",
    "nat-gateway b available in public-b with nat-b",
    "route-table private-a of private-a",
    "route-table private-b of private-b",
    "route-table public of public-a,public-b",
    "route private-a 0.0.0.0/0 to a",
    "route private-b 0.0.0.0/0 to b",
    "route public 0.0.0.0/0 to main",
    "endpoint s3 Gateway com.amazonaws.eu-central-1.s3 on private-a,private-b",
    "scaling-group web 1/2/4 ELB over private-a,private-b targets web instances 2",
    "target-group web HTTP 8000 health traffic-port /healthz",
    "targets web 2 at 8000",
    "listener http HTTP 80 forward web",
    "image web digipay/web@sha256:<digest>",
    "template web t3.micro imdsv2 groups web encrypted",
    "template-tags web instance web",
    "template-tags web volume web",
];

/// Every rule for what comes in, of every group of the VPC.
const WAYS_IN: [&str; 4] = [
    "rule balancer in tcp 80-80 0.0.0.0/0",
    "rule bastion in tcp 22-22 203.0.113.7/32",
    "rule web in tcp 22-22 group/bastion",
    "rule web in tcp 8000-8000 group/balancer",
];

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
    let seen = picture(&account).await;
    for line in PARTS {
        assert!(seen.iter().any(|seen| seen == line), "{line}: {seen:#?}");
    }
    let into_groups = seen
        .iter()
        .filter(|line| line.starts_with("rule ") && line.contains(" in "));
    assert_eq!(into_groups.collect::<Vec<_>>(), WAYS_IN);
    let bastion = "instance bastion t3.nano running in public-a";
    assert!(
        seen.iter().any(|line| line.starts_with(bastion)),
        "{seen:#?}"
    );
    // The VPC's own group cannot be tagged when it is made, and has no rules.
    let untagged = seen.iter().filter(|line| line.contains("untagged("));
    assert_eq!(untagged.collect::<Vec<_>>(), ["group untagged(default)"]);

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
    let written = calls.keys().filter(|call| {
        let action = call.split(':').nth(1).unwrap();
        !["Describe", "Get", "List"]
            .iter()
            .any(|read| action.starts_with(read))
    });
    // Taking and giving back the lock.
    assert_eq!(
        written.collect::<Vec<_>>(),
        ["ssm:DeleteParameter", "ssm:PutParameter"]
    );

    // By its name alone, where no file is.
    let empty = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut destroy = account.command(&["destroy", "--yes", "--stack", "digipay"]);
    let destroy = destroy.current_dir(empty.path()).output().unwrap();
    Ran::from(destroy).ended_with(0);
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
