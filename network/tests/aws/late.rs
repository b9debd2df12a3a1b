//! Delayed visibility on AWS: the first look is not the last one, and nothing is created twice.
//!
//! <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use landfall_aws::Aws;
use landfall_network::{ElasticIp, ElasticIpOutput, NetworkAcl, SecurityGroup, Vpc};
use landfall_provider::{
    Applied, ApplyOptions, ErrorKind, Event, Events, Input, Live, Probe, Provider, Stack, apply,
    plan,
};
use landfall_testkit::scripted::Call;

use crate::bed::{catalog, quick};
use crate::scripted::{calls, scripted, stack, tags};

/// Applies the desired stack; returns the reasons for waiting too.
async fn deploy(aws: &Aws, desired: &Stack) -> (Applied, Vec<String>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let options = ApplyOptions {
        events: Events::to({
            let heard = heard.clone();
            move |event| {
                if let Event::Waiting { why, .. } = event {
                    heard.lock().unwrap().push(why);
                }
            }
        }),
        ..quick()
    };
    let catalog = catalog();
    let live = catalog.snapshot(aws, desired.name()).await.unwrap();
    let plan = plan(desired, &live, catalog.schema()).unwrap();
    let applied = apply(&plan, aws, &catalog, &options).await;
    let heard = heard.lock().unwrap().clone();
    (applied, heard)
}

fn by_tag(call: &Call) -> bool {
    call.field("Filter.1.Name").starts_with("tag:")
}

/// AWS's refusal to release an address that a NAT gateway has, or had a moment ago.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReleaseAddress.html>
const HELD: (u16, &str, &str) = (
    400,
    "AuthFailure",
    "You do not have permission to access the specified resource.",
);

#[tokio::test]
async fn address_is_released_after_its_gateway() {
    let tries = Arc::new(AtomicUsize::new(0));
    let tried = tries.clone();
    let (endpoint, aws) = scripted(move |call| {
        if call.is("ec2:DescribeAddresses") {
            let holder = match tried.load(Ordering::Relaxed) {
                1 => "<networkInterfaceId>eni-1</networkInterfaceId><associationId>eipassoc-1</associationId>",
                _ => "",
            };
            return Some(call.result(&format!(
                "<addressesSet><item><allocationId>eipalloc-1</allocationId><publicIp>203.0.113.9</publicIp>{holder}{}\
                 </item></addressesSet>",
                tags("nat-a")
            )));
        }
        call.is("ec2:ReleaseAddress").then(|| {
            let (status, code, why) = HELD;
            match tried.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => call.error(status, code, why),
                _ => call.result("<return>true</return>"),
            }
        })
    })
    .await;
    let (applied, heard) = deploy(&aws, &Stack::new(stack())).await;
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(calls(&endpoint, "ec2:ReleaseAddress"), 3);
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert!(
        heard[0].contains("eipalloc-1 is still held by eni-1"),
        "{heard:?}"
    );
    assert!(
        heard[1].contains("has not yet released eipalloc-1"),
        "{heard:?}"
    );
}

#[tokio::test]
async fn address_refused_to_unknown_keys_is_denied() {
    let (_endpoint, aws) = scripted(|call| {
        let (status, code, _) = HELD;
        let why = "AWS was not able to validate the provided access credentials";
        (call.service == "ec2").then(|| call.error(status, code, why))
    })
    .await;
    let live = Live {
        id: "eipalloc-1".into(),
        name: "nat-a".parse().unwrap(),
        spec: ElasticIp {},
        state: Probe::Usable(ElasticIpOutput {
            address: "203.0.113.9".parse().unwrap(),
        }),
    };
    let error = aws.delete(&live).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(
        error.to_string().starts_with("ec2:ReleaseAddress"),
        "{error}"
    );
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/default-security-group.html>
#[tokio::test]
async fn a_vpc_is_finished_when_its_default_group_was_seen_and_closed() {
    let (looks, finished) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A removed tag may be seen for a while.
    let stale = AtomicUsize::new(0);
    let (endpoint, aws) = scripted(move |call| {
        let vpc = |set: &str| {
            let is_finished = finished.load(Ordering::Relaxed);
            let mark = match is_finished && stale.fetch_add(1, Ordering::Relaxed) >= 6 {
                true => "",
                false => "<item><key>landfall:unfinished</key><value>true</value></item>",
            };
            format!(
                "<{set}><vpcId>vpc-1</vpcId><state>available</state><cidrBlock>10.0.0.0/16</cidrBlock><tagSet>\
                 <item><key>landfall:stack</key><value>digipay</value></item>\
                 <item><key>landfall:name</key><value>main</value></item>{mark}</tagSet></{set}>"
            )
        };
        Some(match call.action.as_str() {
            "CreateVpc" => call.result(&vpc("vpc")),
            // It is not found by its tags at all.
            "DescribeVpcs" if call.field("VpcId.1") == "vpc-1" => {
                call.result(&format!("<vpcSet>{}</vpcSet>", vpc("item")))
            }
            "DescribeSecurityGroups" if call.field("Filter.1.Name") == "vpc-id" => {
                let everything = "<item><ipProtocol>-1</ipProtocol><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item>\
                                  </ipRanges></item>";
                match looks.fetch_add(1, Ordering::Relaxed) {
                    0 => call.result("<securityGroupInfo/>"),
                    _ => call.result(&format!(
                        "<securityGroupInfo><item><groupId>sg-1</groupId><groupName>default</groupName>\
                         <ipPermissions>{everything}</ipPermissions>\
                         <ipPermissionsEgress>{everything}</ipPermissionsEgress></item></securityGroupInfo>"
                    )),
                }
            }
            "ModifyVpcAttribute" => call.result("<return>true</return>"),
            "DeleteTags" => {
                finished.store(true, Ordering::Relaxed);
                call.result("<return>true</return>")
            }
            "RevokeSecurityGroupIngress" | "RevokeSecurityGroupEgress" => {
                assert_eq!(call.field("GroupId"), "sg-1");
                call.result("<return>true</return>")
            }
            _ => return None,
        })
    })
    .await;
    let mut desired = Stack::new(stack());
    desired.add(
        "main",
        Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
        },
    );
    let (applied, _) = deploy(&aws, &desired).await;
    assert!(applied.is_complete(), "{applied:?}");
    let called = |action: &str| calls(&endpoint, action);
    assert_eq!(called("ec2:CreateVpc"), 1);
    assert_eq!(called("ec2:RevokeSecurityGroupIngress"), 1);
    assert_eq!(called("ec2:RevokeSecurityGroupEgress"), 1);
    let order: Vec<String> = endpoint.calls().iter().map(ToString::to_string).collect();
    let at = |action: &str| order.iter().rposition(|call| call == action);
    assert!(
        at("ec2:DeleteTags") > at("ec2:RevokeSecurityGroupEgress"),
        "{order:?}"
    );
    assert_eq!(called("ec2:DeleteTags"), 1);
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>: a new group allows
/// all outbound traffic.
#[tokio::test]
async fn late_group_loses_the_default_rule() {
    let revokes = AtomicUsize::new(0);
    let (endpoint, aws) = scripted(move |call| {
        Some(match call.action.as_str() {
            "CreateSecurityGroup" => call.result("<return>true</return><groupId>sg-1</groupId>"),
            "DescribeSecurityGroups" if !by_tag(call) => call.result(&format!(
                "<securityGroupInfo><item><groupId>sg-1</groupId><groupName>digipay-web</groupName><vpcId>vpc-1</vpcId>\
                 <groupDescription>web</groupDescription>{}</item></securityGroupInfo>",
                tags("web")
            )),
            "DescribeSecurityGroupRules" if !by_tag(call) => call.result(
                "<securityGroupRuleSet><item><securityGroupRuleId>sgr-1</securityGroupRuleId><groupId>sg-1</groupId>\
                 <isEgress>true</isEgress><ipProtocol>-1</ipProtocol><cidrIpv4>0.0.0.0/0</cidrIpv4></item>\
                 </securityGroupRuleSet>",
            ),
            "RevokeSecurityGroupEgress" => match revokes.fetch_add(1, Ordering::Relaxed) {
                0 => call.error(
                    400,
                    "InvalidGroup.NotFound",
                    "The security group 'sg-1' does not exist",
                ),
                _ => {
                    assert_eq!(call.field("SecurityGroupRuleId.1"), "sgr-1");
                    call.result("<return>true</return>")
                }
            },
            _ => return None,
        })
    })
    .await;
    let mut desired = Stack::new(stack());
    desired.add(
        "web",
        SecurityGroup {
            vpc: Input::Known("vpc-1".into()),
            description: "web".to_owned(),
        },
    );
    let (applied, _) = deploy(&aws, &desired).await;
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(calls(&endpoint, "ec2:CreateSecurityGroup"), 1);
    assert_eq!(calls(&endpoint, "ec2:RevokeSecurityGroupEgress"), 2);
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>: every subnet is associated with an ACL.
#[tokio::test]
async fn acl_is_associated_with_late_subnets() {
    let looks = AtomicUsize::new(0);
    let moved = Arc::new(Mutex::new(Vec::new()));
    let log = moved.clone();
    let (endpoint, aws) = scripted(move |call| {
        let own = |set: &str| {
            format!(
                "<{set}><networkAclId>acl-1</networkAclId><vpcId>vpc-1</vpcId>{}</{set}>",
                tags("private")
            )
        };
        Some(match call.action.as_str() {
            "CreateNetworkAcl" => call.result(&own("networkAcl")),
            "DescribeNetworkAcls" if call.field("NetworkAclId.1") == "acl-1" => {
                call.result(&format!("<networkAclSet>{}</networkAclSet>", own("item")))
            }
            "DescribeNetworkAcls" if call.field("Filter.1.Name") == "association.subnet-id" => {
                let seen = match looks.fetch_add(1, Ordering::Relaxed) {
                    0 => &["a"] as &[_],
                    _ => &["a", "b"],
                };
                let associations: String = seen
                    .iter()
                    .map(|one| {
                        format!(
                            "<item><networkAclAssociationId>aclassoc-{one}</networkAclAssociationId>\
                             <networkAclId>acl-0</networkAclId><subnetId>subnet-{one}</subnetId></item>"
                        )
                    })
                    .collect();
                call.result(&format!(
                    "<networkAclSet><item><networkAclId>acl-0</networkAclId><default>true</default>\
                     <associationSet>{associations}</associationSet></item></networkAclSet>"
                ))
            }
            "ReplaceNetworkAclAssociation" => {
                let association = call.field("AssociationId").to_owned();
                log.lock().unwrap().push(association);
                call.result("<newAssociationId>aclassoc-9</newAssociationId>")
            }
            _ => return None,
        })
    })
    .await;
    let mut desired = Stack::new(stack());
    desired.add(
        "private",
        NetworkAcl {
            vpc: Input::Known("vpc-1".into()),
            entries: Vec::new(),
            subnets: ["subnet-a", "subnet-b"]
                .map(|id| Input::Known(id.into()))
                .to_vec(),
        },
    );
    let (applied, _) = deploy(&aws, &desired).await;
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(calls(&endpoint, "ec2:CreateNetworkAcl"), 1);
    let moved = moved.lock().unwrap();
    assert!(moved.iter().any(|one| one == "aclassoc-b"), "{moved:?}");
}
