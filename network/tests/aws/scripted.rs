//! Features that moto lacks, with answers from AWS's documentation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use landfall_aws::Aws;
use landfall_network::{NatGateway, NatGatewayOutput, Subnet, Vpc};
use landfall_provider::{
    ApplyOptions, Event, Events, Input, Key, Probe, Provider, Resource, Stack, StackName, SubnetId,
    apply, plan,
};
use landfall_testkit::scripted::{Answer, Call, Endpoint};

use crate::bed::{catalog, quick, session};

pub(crate) fn stack() -> StackName {
    "digipay".parse().unwrap()
}

/// A session with an account whose content is the script's.
pub(crate) async fn scripted(
    script: impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static,
) -> (Endpoint, Aws) {
    let endpoint = Endpoint::builder()
        .script(move |call, _| {
            script(call).or_else(|| {
                if call.is("sts:GetCallerIdentity") {
                    Some(call.result(
                        "<Arn>arn:aws:iam::123456789012:user/ana</Arn><Account>123456789012</Account>",
                    ))
                } else if call.is("ec2:DescribeTags") {
                    Some(call.tagged())
                } else {
                    call.action.starts_with("Describe").then(|| call.result(""))
                }
            })
        })
        .start()
        .unwrap();
    let aws = session(endpoint.url()).await;
    (endpoint, aws)
}

/// The tags of a resource, in EC2's form.
pub(crate) fn tags(name: &str) -> String {
    format!(
        "<tagSet><item><key>landfall:stack</key><value>digipay</value></item>\
         <item><key>landfall:name</key><value>{name}</value></item></tagSet>"
    )
}

pub(crate) fn key<R: Resource>(name: &str) -> Key {
    Key {
        kind: R::KIND,
        name: name.parse().unwrap(),
    }
}

pub(crate) fn calls(endpoint: &Endpoint, action: &str) -> usize {
    endpoint
        .calls()
        .iter()
        .filter(|call| call.is(action))
        .count()
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html>: pending, failed,
/// available, deleting, deleted;
/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html>: the reason
/// of a failure.
#[tokio::test]
async fn a_nat_gateway_goes_through_its_states_and_says_why_it_failed() {
    let looks = AtomicUsize::new(0);
    let (endpoint, aws) = scripted(move |call| {
        if call.is("ec2:CreateNatGateway") {
            return Some(call.result(
                "<natGateway><natGatewayId>nat-1</natGatewayId><state>pending</state></natGateway>",
            ));
        }
        if !call.is("ec2:DescribeNatGateways") || call.field("NatGatewayId.1").is_empty() {
            return None;
        }
        let state = match looks.fetch_add(1, Ordering::Relaxed) {
            0 => "<state>pending</state>",
            1 => "<state>available</state>",
            2 => "<state>deleting</state>",
            3 => "<state>deleted</state>",
            _ => {
                "<state>failed</state><failureCode>Resource.AlreadyAssociated</failureCode>\
                 <failureMessage>Elastic IP address eipalloc-1 is already associated</failureMessage>"
            }
        };
        Some(call.result(&format!(
            "<natGatewaySet><item><natGatewayId>nat-1</natGatewayId><subnetId>subnet-1</subnetId>{state}\
             <natGatewayAddressSet><item><allocationId>eipalloc-1</allocationId><publicIp>203.0.113.9</publicIp>\
             </item></natGatewayAddressSet>{}</item></natGatewaySet>",
            tags("a")
        )))
    })
    .await;
    let desired = NatGateway {
        subnet: Input::Known("subnet-1".into()),
        address: Input::Known("eipalloc-1".into()),
    };
    let id = aws
        .create(&stack(), &key::<NatGateway>("a"), &desired)
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(Provider::<NatGateway>::probe(&aws, &id).await.unwrap());
    }
    assert_eq!(
        seen,
        [
            Probe::Pending("pending".to_owned()),
            Probe::Usable(NatGatewayOutput {
                public_address: "203.0.113.9".parse().unwrap()
            }),
            Probe::Ending("deleting".to_owned()),
            Probe::Absent,
            Probe::Failed(
                "Elastic IP address eipalloc-1 is already associated (Resource.AlreadyAssociated)"
                    .to_owned()
            ),
        ]
    );
    let calls = endpoint.calls();
    let create = calls.iter().find(|call| call.is("ec2:CreateNatGateway"));
    assert_eq!(create.unwrap().field("ClientToken").len(), 64);
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/requester-managed-eni.html>: the interfaces of a balancer stay
/// for a while; <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>: DependencyViolation.
#[tokio::test]
async fn subnet_delete_waits_for_balancer_interfaces() {
    let tries = AtomicUsize::new(0);
    let (endpoint, aws) = scripted(move |call| {
        if call.is("ec2:DescribeSubnets") {
            return Some(call.result(&format!(
                "<subnetSet><item><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><state>available</state>\
                 <cidrBlock>10.0.1.0/24</cidrBlock><availabilityZone>eu-central-1a</availabilityZone>{}</item>\
                 </subnetSet>",
                tags("public-a")
            )));
        }
        if call.is("ec2:DescribeNetworkInterfaces") {
            assert_eq!(call.field("Filter.1.Name"), "subnet-id");
            return Some(call.result(
                "<networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId>\
                 <description>ELB app/digipay-main/50dc6c495c0c9188</description></item></networkInterfaceSet>",
            ));
        }
        call.is("ec2:DeleteSubnet").then(|| {
            if tries.fetch_add(1, Ordering::Relaxed) < 2 {
                call.error(
                    400,
                    "DependencyViolation",
                    "The subnet 'subnet-1' has dependencies and cannot be deleted.",
                )
            } else {
                call.result("<return>true</return>")
            }
        })
    })
    .await;
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
    let live = catalog.snapshot(&aws, &stack()).await.unwrap();
    let plan = plan(&Stack::new(stack()), &live, catalog.schema()).unwrap();
    let applied = apply(&plan, &aws, &catalog, &options).await;
    assert!(applied.is_complete(), "{applied:?}");
    assert_eq!(
        *heard.lock().unwrap(),
        ["subnet-1 is still used by ELB app/digipay-main/50dc6c495c0c9188"]
    );
    assert_eq!(calls(&endpoint, "ec2:DeleteSubnet"), 3);
}

/// <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
#[tokio::test]
async fn a_vpc_that_is_not_visible_yet_is_waited_for() {
    let tries = AtomicUsize::new(0);
    let (endpoint, aws) = scripted(move |call| {
        call.is("ec2:CreateSubnet").then(|| {
            if tries.fetch_add(1, Ordering::Relaxed) < 2 {
                call.error(
                    400,
                    "InvalidVpcID.NotFound",
                    "The vpc ID 'vpc-1' does not exist",
                )
            } else {
                call.result(
                    "<subnet><subnetId>subnet-1</subnetId><state>available</state></subnet>",
                )
            }
        })
    })
    .await;
    let mut desired = Stack::new(stack());
    desired.add(
        "public-a",
        Subnet {
            vpc: Input::Known("vpc-1".into()),
            zone: "eu-central-1a".parse().unwrap(),
            cidr: "10.0.1.0/24".parse().unwrap(),
        },
    );
    let catalog = catalog();
    let live = catalog.snapshot(&aws, &stack()).await.unwrap();
    let plan = plan(&desired, &live, catalog.schema()).unwrap();
    let applied = apply(&plan, &aws, &catalog, &quick()).await;
    let made = &applied.ready[&key::<Subnet>("public-a")];
    assert_eq!(made.id, SubnetId::from("subnet-1").as_ref());
    assert_eq!(calls(&endpoint, "ec2:CreateSubnet"), 3);
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcs.html>: NextToken
#[tokio::test]
async fn a_listing_has_all_pages() {
    let (_endpoint, aws) = scripted(|call| {
        call.is("ec2:DescribeVpcs").then(|| {
            let (name, next) = match call.field("NextToken") {
                "" => ("one", "<nextToken>more</nextToken>"),
                _ => ("two", ""),
            };
            call.result(&format!(
                "<vpcSet><item><vpcId>vpc-{name}</vpcId><state>available</state>\
                 <cidrBlock>10.0.0.0/16</cidrBlock>{}</item></vpcSet>{next}",
                tags(name)
            ))
        })
    })
    .await;
    let found = Provider::<Vpc>::list(&aws, &stack()).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|live| live.id.as_ref()).collect();
    assert_eq!(ids, ["vpc-one", "vpc-two"]);
}
