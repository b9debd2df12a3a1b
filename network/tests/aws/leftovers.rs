//! What is in the way of a destroy: resources that Landfall does not understand, and interfaces that AWS has left behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use landfall_network::{ElasticIp, InternetGateway, NatGateway, SecurityGroup, Subnet, Vpc};
use landfall_provider::{
    Found, Live, Probe, Provider as _, Resource, ResourceName, Stack, apply, plan,
};

use crate::bed::{catalog, quick};
use crate::scripted::{calls, scripted, stack, tags};

/// An account with a NAT gateway that has no public address, a subnet without an IPv4 block and a zone, and an address
/// that does not say which it is. It holds nothing else.
#[tokio::test]
async fn strange_resources_are_shown_and_deleted() {
    let (endpoint, aws) = scripted(|call| {
        let is_deleted = |action: &str| call.action == action;
        if ["DeleteNatGateway", "DeleteSubnet", "ReleaseAddress"].into_iter().any(is_deleted) {
            return Some(call.result("<return>true</return>"));
        }
        // What is looked at by its id is gone by then.
        let is_listing = call.field("Filter.1.Name").starts_with("tag:");
        let listed = |set: &str, item: &str| {
            let item = match is_listing {
                true => format!("<item>{item}{}</item>", tags("strange")),
                false => String::new(),
            };
            call.result(&format!("<{set}>{item}</{set}>"))
        };
        Some(match call.action.as_str() {
            "DescribeNatGateways" => listed(
                "natGatewaySet",
                "<natGatewayId>nat-1</natGatewayId><state>available</state><connectivityType>private</connectivityType>",
            ),
            "DescribeSubnets" => listed(
                "subnetSet",
                "<subnetId>subnet-1</subnetId><state>available</state><vpcId>vpc-1</vpcId>",
            ),
            "DescribeAddresses" => {
                listed("addressesSet", "<allocationId>eipalloc-1</allocationId>")
            }
            _ => return None,
        })
    })
    .await;
    let catalog = catalog();
    let live = catalog.snapshot(&aws, &stack()).await.unwrap();
    let shown = |found: &Found| match &found.state {
        Probe::Failed(why) => format!("{}: {why}", found.key),
        other => panic!("{}: {other:?}", found.key),
    };
    let mut seen: Vec<String> = live.found().iter().map(shown).collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "elastic-ip/strange: AWS shows it without an IPv4 address",
            "nat-gateway/strange: AWS shows it without its subnet",
            "subnet/strange: AWS shows it without an IPv4 block",
        ]
    );
    let plan = plan(&Stack::new(stack()), &live, catalog.schema()).unwrap();
    let applied = apply(&plan, &aws, &catalog, &quick()).await;
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(calls(&endpoint, "ec2:DeleteNatGateway"), 1);
    assert_eq!(calls(&endpoint, "ec2:DeleteSubnet"), 1);
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-delete.html>
#[tokio::test]
async fn orphaned_interfaces_of_a_balancer_are_deleted() {
    const INTERFACES: [(&str, &str, &str, &str); 4] = [
        (
            "eni-orphan",
            "ELB app/digipay-main/1",
            "available",
            "vpc-own",
        ),
        ("eni-used", "ELB app/digipay-main/1", "in-use", "vpc-own"),
        ("eni-foreign", "made by hand", "available", "vpc-own"),
        (
            "eni-elsewhere",
            "ELB app/digipay-main/1",
            "available",
            "vpc-other",
        ),
    ];
    let tries = AtomicUsize::new(0);
    let (endpoint, aws) = scripted(move |call| {
        Some(match call.action.as_str() {
            "DeleteSecurityGroup" => match tries.fetch_add(1, Ordering::Relaxed) {
                0 => call.error(400, "DependencyViolation", "resource sg-1 has a dependent object"),
                _ => call.result("<return>true</return>"),
            },
            "DescribeNetworkInterfaces" => {
                let items: String = INTERFACES
                    .iter()
                    .map(|(id, description, status, vpc)| {
                        format!(
                            "<item><networkInterfaceId>{id}</networkInterfaceId><description>{description}</description>\
                             <status>{status}</status><vpcId>{vpc}</vpcId></item>"
                        )
                    })
                    .collect();
                call.result(&format!("<networkInterfaceSet>{items}</networkInterfaceSet>"))
            }
            "DescribeVpcs" => {
                let tags = match call.field("VpcId.1") {
                    "vpc-own" => tags("main"),
                    _ => String::new(),
                };
                call.result(&format!("<vpcSet><item><vpcId>vpc</vpcId>{tags}</item></vpcSet>"))
            }
            "DeleteNetworkInterface" => {
                assert_eq!(call.field("NetworkInterfaceId"), "eni-orphan");
                call.result("<return>true</return>")
            }
            _ => return None,
        })
    })
    .await;
    let live = Live {
        id: "sg-1".into(),
        name: "balancer".parse::<ResourceName>().unwrap(),
        spec: SecurityGroup {
            vpc: landfall_provider::Input::Known("vpc-own".into()),
            description: "balancer".to_owned(),
        },
        state: Probe::Usable(()),
    };
    let error = aws.delete(&live).await.unwrap_err();
    assert!(
        error.to_string().contains("ELB app/digipay-main/1"),
        "{error}"
    );
    aws.delete(&live).await.unwrap();
    assert_eq!(calls(&endpoint, "ec2:DeleteNetworkInterface"), 1);
}

#[test]
fn deletes_wait_twenty_minutes() {
    let least = Duration::from_secs(1200);
    for timeout in [
        SecurityGroup::DELETE_TIMEOUT,
        Subnet::DELETE_TIMEOUT,
        InternetGateway::DELETE_TIMEOUT,
        ElasticIp::DELETE_TIMEOUT,
        Vpc::DELETE_TIMEOUT,
    ] {
        assert!(timeout >= least, "{timeout:?}");
    }
    assert!(NatGateway::DELETE_TIMEOUT >= Duration::from_secs(300));
}
