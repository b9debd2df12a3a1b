//! Preflight checks of a network: quotas, addresses, and failing checks.

use async_trait::async_trait;
use landfall_aws::{Aws, Quotas};
use landfall_network::aws::{check, quotas};
use landfall_network::{ElasticIp, NatGateway, Subnet, Vpc};
use landfall_provider::{Error, ErrorKind, Preflight as _, Stack, plan};

use crate::bed::{Bed, catalog, session_with};
use crate::scripted::{scripted, stack};

/// An account with these limits of VPCs and NAT gateways, if known.
struct May {
    vpcs: Option<usize>,
    nat_gateways: Option<usize>,
}

/// By AWS's codes: <https://docs.aws.amazon.com/general/latest/gr/vpc-service.html>.
#[async_trait]
impl Quotas for May {
    async fn most(&self, _: &Aws, service: &str, code: &str) -> Option<usize> {
        match (service, code) {
            ("vpc", "L-F678F1CE") => self.vpcs,
            ("vpc", "L-FE5A380F") => self.nat_gateways,
            other => panic!("{other:?}"),
        }
    }
}

/// A VPC with a NAT gateway in each of these zones.
fn network(cidr: &str, zones: &[&str]) -> Stack {
    let mut desired = Stack::new(stack());
    let vpc = desired.add(
        "main",
        Vpc {
            cidr: cidr.parse().unwrap(),
        },
    );
    for (index, zone) in zones.iter().enumerate() {
        let subnet = desired.add(
            &format!("public-{zone}"),
            Subnet {
                vpc: vpc.id(),
                zone: format!("eu-central-1{zone}").parse().unwrap(),
                cidr: format!("10.0.{index}.0/24").parse().unwrap(),
            },
        );
        let address = desired.add(&format!("nat-{zone}"), ElasticIp {});
        desired.add(
            zone,
            NatGateway {
                subnet: subnet.id(),
                address: address.id(),
            },
        );
    }
    desired
}

async fn findings(aws: &Aws, desired: &Stack) -> Vec<Error> {
    let catalog = catalog();
    let live = catalog.snapshot(aws, desired.name()).await.unwrap();
    let plan = plan(desired, &live, catalog.schema()).unwrap();
    aws.preflight(&plan).await.unwrap()
}

fn reported(findings: &[Error]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn needs_moto_quotas_count_account_and_plan() {
    let mut bed = Bed::new().await;
    // The default quota, including AWS's default VPC: below it, no limit is queried.
    bed.moto
        .python(
            "import boto3\n\
             ec2 = boto3.client('ec2')\n\
             for n in range(1, 5): ec2.create_vpc(CidrBlock=f'10.{n}.0.0/16')\n\
             zone = {'Name': 'availability-zone', 'Values': ['eu-central-1a']}\n\
             subnet = ec2.describe_subnets(Filters=[zone])['Subnets'][0]['SubnetId']\n\
             for _ in range(5): ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType='private')",
        )
        .await
        .unwrap();
    let desired = network("10.0.0.0/16", &["a", "b"]);
    let with = async |vpcs, nat_gateways, desired: &Stack| {
        let may = May { vpcs, nat_gateways };
        let aws = session_with(bed.endpoint.url(), vec![check(), quotas(may)]).await;
        reported(&findings(&aws, desired).await)
    };
    assert_eq!(with(Some(6), Some(6), &desired).await, [""; 0]);
    assert_eq!(with(None, None, &desired).await, [""; 0]);
    assert_eq!(
        with(Some(5), Some(5), &desired).await,
        [
            "the plan needs 1 more VPCs in eu-central-1, and 5 of the account's 5 are in use",
            "the plan needs 1 more NAT gateways in eu-central-1a, and 5 of the account's 5 are in use",
        ]
    );
    let one = network("10.0.0.0/16", &["a"]);
    bed.deploy(&one).await;
    bed.next_run().await;
    // Existing gateways count in their own zone, and the VPC does not count any more.
    let mut more = network("10.0.0.0/16", &["a", "b"]);
    let address = more.add("nat-second", ElasticIp {});
    let subnet = bed.plan(&one).await.steps.into_iter().find_map(|step| {
        let live = match step.action {
            landfall_provider::Action::Keep { live } => live,
            _ => return None,
        };
        (step.key.to_string() == "subnet/public-a").then_some(live.id)
    });
    more.add(
        "second",
        NatGateway {
            subnet: landfall_provider::Input::Known(subnet.unwrap().into()),
            address: address.id(),
        },
    );
    let with = async |vpcs, nat_gateways, desired: &Stack| {
        let may = May { vpcs, nat_gateways };
        let aws = session_with(bed.endpoint.url(), vec![check(), quotas(may)]).await;
        reported(&findings(&aws, desired).await)
    };
    assert_eq!(
        with(Some(6), Some(6), &more).await,
        [
            "the plan needs 1 more NAT gateways in eu-central-1a, and 6 of the account's 6 are in use"
        ]
    );
}

#[tokio::test]
async fn needs_moto_vpc_blocks_overlap_no_peer() {
    let bed = Bed::new().await;
    bed.deploy(&network("10.0.0.0/16", &[])).await;
    let peer = bed
        .moto
        .python(
            "import boto3\n\
             ec2 = boto3.client('ec2')\n\
             own = ec2.describe_vpcs(Filters=[{'Name': 'tag:landfall:stack', 'Values': ['digipay']}])['Vpcs'][0]['VpcId']\n\
             peer = ec2.create_vpc(CidrBlock='10.7.0.0/16')['Vpc']['VpcId']\n\
             made = ec2.create_vpc_peering_connection(VpcId=own, PeerVpcId=peer)['VpcPeeringConnection']\n\
             ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=made['VpcPeeringConnectionId'])\n\
             print(peer)",
        )
        .await
        .unwrap();
    // The stack's own VPC is replaced: its peer stays.
    let moved = findings(&bed.aws, &network("10.7.128.0/17", &[])).await;
    assert_eq!(
        reported(&moved),
        [format!(
            "vpc/main: 10.7.128.0/17 overlaps with 10.7.0.0/16 of {}, which is peered with this stack",
            peer.trim()
        )]
    );
    assert_eq!(moved[0].kind(), ErrorKind::Invalid);
    for cidr in ["10.8.0.0/16", "10.0.0.0/17"] {
        let elsewhere = findings(&bed.aws, &network(cidr, &[])).await;
        assert_eq!(reported(&elsewhere), [""; 0], "{cidr}");
    }
    // One more beside the kept one.
    let mut both = network("10.0.0.0/16", &[]);
    both.add(
        "second",
        Vpc {
            cidr: "10.0.128.0/20".parse().unwrap(),
        },
    );
    let both = reported(&findings(&bed.aws, &both).await);
    assert_eq!(both.len(), 1, "{both:?}");
    assert!(
        both[0].starts_with("vpc/second: 10.0.128.0/20 overlaps with 10.0.0.0/16 of vpc-"),
        "{both:?}"
    );
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>: UnauthorizedOperation
#[tokio::test]
async fn a_look_that_is_denied_is_told_beside_what_others_find() {
    let (_endpoint, aws) = scripted(|call| match call.action.as_str() {
        "DescribeAvailabilityZones" => Some(call.error(
            403,
            "UnauthorizedOperation",
            "You are not authorized to perform this operation.",
        )),
        "DescribeAddresses" => {
            let four = "<item><publicIp>203.0.113.1</publicIp></item>".repeat(4);
            Some(call.result(&format!("<addressesSet>{four}</addressesSet>")))
        }
        "DescribeAccountAttributes" => Some(call.result(
            "<accountAttributeSet><item><attributeName>vpc-max-elastic-ips</attributeName><attributeValueSet>\
             <item><attributeValue>5</attributeValue></item></attributeValueSet></item></accountAttributeSet>",
        )),
        _ => None,
    })
    .await;
    let found = findings(&aws, &network("10.0.0.0/16", &["a", "b"])).await;
    let kinds: Vec<ErrorKind> = found.iter().map(Error::kind).collect();
    assert_eq!(kinds, [ErrorKind::Limit, ErrorKind::Denied], "{found:?}");
    assert!(reported(&found)[1].contains("ec2:DescribeAvailabilityZones"));
}
