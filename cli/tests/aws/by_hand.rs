//! Manual changes to a stack, made outside Landfall with boto3.

use crate::account::{Account, EXAMPLE};
use crate::eye::picture;

/// The common first lines of all scripts here.
const BOTO: &str = "\
import boto3
ec2 = boto3.client('ec2')
def named(things, name):
    return next(t for t in things if {'Key': 'landfall:name', 'Value': name} in t.get('Tags', []))
";

/// Runs a script.
async fn by_hand(account: &Account, deed: &str) {
    let deed = format!("{BOTO}{deed}");
    account.aws.moto.python(&deed).await.unwrap();
}

#[tokio::test]
async fn needs_emulators_revoked_rule_is_found_and_restored() {
    let account = Account::new(EXAMPLE).await;
    account.landfall(&["deploy"]).ended_with(0);
    let before = picture(&account).await;
    let live = ["explain", "--live", "internet", "lb:80"];
    account.landfall(&live).ended_with(0);
    by_hand(
        &account,
        "group = named(ec2.describe_security_groups()['SecurityGroups'], 'web')
rules = [r for r in group['IpPermissions'] if r.get('FromPort') == 8000]
assert len(rules) == 1, group
ec2.revoke_security_group_ingress(GroupId=group['GroupId'], IpPermissions=rules)
",
    )
    .await;
    account
        .landfall(&["explain", "internet", "lb:80"])
        .ended_with(0);
    let reported = account.landfall(&live).ended_with(1).stdout;
    for part in ["security-group/web", "ENI_SG_RULES_MISMATCH"] {
        assert!(reported.contains(part), "{part}: {reported}");
    }
    account.landfall(&["deploy"]).ended_with(0);
    account.landfall(&live).ended_with(0);
    assert_eq!(picture(&account).await, before);
}

#[tokio::test]
async fn needs_emulators_renamed_resource_is_replaced() {
    let account = Account::new(EXAMPLE).await;
    account.landfall(&["deploy"]).ended_with(0);
    let before = picture(&account).await;
    by_hand(
        &account,
        "endpoint = named(ec2.describe_vpc_endpoints()['VpcEndpoints'], 's3')
ec2.create_tags(Resources=[endpoint['VpcEndpointId']], Tags=[{'Key': 'landfall:name', 'Value': 's4'}])
vpc = named(ec2.describe_vpcs()['Vpcs'], 'main')
ec2.create_tags(Resources=[vpc['VpcId']], Tags=[{'Key': 'Name', 'Value': 'our network'}])
",
    )
    .await;
    let plan = account.landfall(&["plan"]).ended_with(0).stdout;
    // The name in consoles is free for anybody to change.
    for part in [
        "+ gateway-endpoint/s3",
        "- gateway-endpoint/s4",
        "Plan: 1 to create, 1 to delete, ",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    account.landfall(&["deploy", "--yes"]).ended_with(0);
    assert_eq!(picture(&account).await, before);
}

#[tokio::test]
async fn needs_emulators_untagged_vpc_is_replaced_or_retagged() {
    let account = Account::new(EXAMPLE).await;
    account.landfall(&["deploy"]).ended_with(0);
    let before = picture(&account).await;
    by_hand(
        &account,
        "vpc = named(ec2.describe_vpcs()['Vpcs'], 'main')
ec2.delete_tags(Resources=[vpc['VpcId']], Tags=[{'Key': 'landfall:stack'}, {'Key': 'landfall:name'}])
",
    )
    .await;
    // It has no owner any more, so a new one is needed, and its contents would move there.
    let plan = account.landfall(&["plan"]).ended_with(0).stdout;
    for part in [
        "+ vpc/main",
        "-/+ subnet/public-a",
        "Lost for good",
        "DNS name digipay-main-",
        " to replace, ",
    ] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    let refused = account.landfall(&["deploy"]).ended_with(2).stderr;
    for part in [
        "needs a confirmation",
        "its instances, which answer requests",
        "nothing was changed",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    by_hand(
        &account,
        "vpc = next(v for v in ec2.describe_vpcs()['Vpcs'] if not v['IsDefault'])
ec2.create_tags(Resources=[vpc['VpcId']],
                Tags=[{'Key': 'landfall:stack', 'Value': 'digipay'}, {'Key': 'landfall:name', 'Value': 'main'}])
",
    )
    .await;
    let plan = account.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("Nothing to do"), "{plan}");
    assert_eq!(picture(&account).await, before);
}

#[tokio::test]
async fn needs_emulators_untagged_named_resource_is_retagged() {
    let bastion = EXAMPLE.lines().find(|line| line.starts_with("bastion"));
    let account = Account::new(&EXAMPLE.replace(bastion.unwrap(), "")).await;
    account.landfall(&["deploy"]).ended_with(0);
    let before = picture(&account).await;
    by_hand(
        &account,
        "group = named(ec2.describe_security_groups()['SecurityGroups'], 'web')
ec2.delete_tags(Resources=[group['GroupId']], Tags=[{'Key': 'landfall:stack'}, {'Key': 'landfall:name'}])
",
    )
    .await;
    let plan = account.landfall(&["plan"]).ended_with(0).stdout;
    assert!(plan.contains("+ security-group/web"), "{plan}");
    let failed = account.landfall(&["deploy", "--yes"]).ended_with(1).stderr;
    for part in [
        "creating security-group/web: ",
        "restore its tags (landfall:stack, landfall:name)",
        "`deploy` continues from here",
    ] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    by_hand(
        &account,
        "group = next(g for g in ec2.describe_security_groups()['SecurityGroups']
             if g['GroupName'].startswith('digipay') and 'web' in g['GroupName'])
ec2.create_tags(Resources=[group['GroupId']],
                Tags=[{'Key': 'landfall:stack', 'Value': 'digipay'}, {'Key': 'landfall:name', 'Value': 'web'}])
",
    )
    .await;
    account.landfall(&["deploy", "--yes"]).ended_with(0);
    assert_eq!(picture(&account).await, before);
}
