//! The effects of a change of the file: only its consequences, without leftovers.

use serde_json::json;

use crate::account::{Account, EXAMPLE};
use crate::eye::{changed, picture};

#[tokio::test]
async fn needs_emulators_port_change_leaves_no_orphan() {
    let account = Account::new(EXAMPLE).await;
    account.landfall(&["deploy"]).ended_with(0);
    let before = picture(&account).await;

    account.write("landfall.toml", &EXAMPLE.replace("8000", "9000"));
    let plan = account.landfall(&["plan", "--json"]).ended_with(0).json();
    let expected = json!({
        "create": [],
        "update": [
            "launch-template/web",
            "security-group-rules/balancer",
            "security-group-rules/web",
            "network-acl/private",
            "network-acl/public",
            "autoscaling-group/web",
            "listener/http",
        ],
        "replace": ["target-group/web"],
        "delete": [],
        "keep": 26,
    });
    assert_eq!(plan["changes"], expected);

    account.landfall(&["deploy", "--yes"]).ended_with(0);
    let (gone, new) = changed(&before, &picture(&account).await);
    for (port, version) in [
        ("8000", "template-version web 1 default 1"),
        ("9000", "template-version web 2 default 2"),
    ] {
        let lines = if port == "8000" { &gone } else { &new };
        for line in [
            format!("acl-entry private in 110 allow 6 10.0.192.0/21 {port}-{port}"),
            format!("acl-entry public out 310 allow 6 10.0.0.0/18 {port}-{port}"),
            format!("rule balancer out tcp {port}-{port} group/web"),
            format!("rule web in tcp {port}-{port} group/balancer"),
            format!("target-group web HTTP {port} health traffic-port /healthz"),
        ] {
            assert!(lines.contains(&line), "{line}: {lines:#?}");
        }
        // Nothing else changes except the targets, which follow their group, and the template's
        // version.
        let others = lines.iter().filter(|line| !line.contains(port));
        assert_eq!(others.collect::<Vec<_>>(), [version], "{lines:#?}");
    }
}

#[tokio::test]
async fn needs_emulators_removed_bastion_takes_only_its_resources() {
    let account = Account::new(EXAMPLE).await;
    account.landfall(&["deploy"]).ended_with(0);
    let before = picture(&account).await;

    let bastion = EXAMPLE.lines().find(|line| line.starts_with("bastion"));
    account.write("landfall.toml", &EXAMPLE.replace(bastion.unwrap(), ""));
    let plan = account.landfall(&["plan", "--json"]).ended_with(0).json();
    let expected = json!({
        "create": [],
        "update": [
            // The key is used by the bastion to reach the instances: without a bastion they have
            // none.
            "launch-template/web",
            "security-group-rules/web",
            "network-acl/private",
            "network-acl/public",
        ],
        "replace": [],
        "delete": [
            "instance/bastion",
            "elastic-ip/bastion",
            "security-group-rules/bastion",
            "key-pair/operator",
            "security-group/bastion",
        ],
        "keep": 25,
    });
    assert_eq!(plan["changes"], expected, "{:#}", plan["changes"]);
    account.calls();
    account.landfall(&["deploy", "--yes"]).ended_with(0);
    // Instances get their keys at launch, so all of them are launched again.
    assert!(
        account
            .calls()
            .contains_key("autoscaling:StartInstanceRefresh")
    );
    let (gone, new) = changed(&before, &picture(&account).await);
    let things: Vec<_> = gone.iter().filter(|line| !line.contains("22-22")).collect();
    // Two entries of network ACLs move up to the numbers of the SSH entries.
    let expected = [
        "acl-entry private in 110 allow 6 10.0.192.0/21 8000-8000",
        "acl-entry public out 310 allow 6 10.0.0.0/18 8000-8000",
        "elastic-ip bastion vpc",
        "group bastion",
        "instance bastion t3.nano running in public-a groups bastion key operator",
        "key-pair operator ed25519",
        "template web t3.micro imdsv2 groups web encrypted key operator",
        "template-version web 1 default 1",
    ];
    assert_eq!(things, expected, "{gone:#?}");
    let moved = [
        "acl-entry private in 100 allow 6 10.0.192.0/21 8000-8000",
        "acl-entry public out 300 allow 6 10.0.0.0/18 8000-8000",
        "template web t3.micro imdsv2 groups web encrypted key none",
        "template-version web 2 default 2",
    ];
    assert_eq!(new, moved);
}
