//! The complete network of a service, applied by the engine, changed and destroyed.

use landfall_network::{NatMode, OpenPorts, ServicePort, TwoTier, add_groups};
use landfall_provider::{Action, Port, Preflight, Stack, StackName};
use landfall_testkit::scripted::{Endpoint, Faults};

use crate::bed::Bed;

/// The resources of a stack, and those without one, as boto3 reports them: all except the region's
/// default VPC.
const SEEN: &str = r"
import boto3
ec2 = boto3.client('ec2')
own = lambda thing: {tag['Key']: tag['Value'] for tag in thing.get('Tags', [])}.get('landfall:stack') == 'digipay'
default = {vpc['VpcId'] for vpc in ec2.describe_vpcs()['Vpcs'] if vpc['IsDefault']}
for what, things in [
    ('vpcs', ec2.describe_vpcs()['Vpcs']),
    ('subnets', ec2.describe_subnets()['Subnets']),
    ('internet gateways', ec2.describe_internet_gateways()['InternetGateways']),
    ('nat gateways', [one for one in ec2.describe_nat_gateways()['NatGateways'] if one['State'] != 'deleted']),
    ('addresses', ec2.describe_addresses()['Addresses']),
    ('route tables', [one for one in ec2.describe_route_tables()['RouteTables']
        if not any(a.get('Main') for a in one['Associations'])]),
    ('acls', [one for one in ec2.describe_network_acls()['NetworkAcls'] if not one['IsDefault']]),
    ('groups', [one for one in ec2.describe_security_groups()['SecurityGroups'] if one['GroupName'] != 'default']),
    ('rules', [one for one in ec2.describe_security_group_rules()['SecurityGroupRules'] if own(one)]),
    ('endpoints', [one for one in ec2.describe_vpc_endpoints()['VpcEndpoints'] if one['State'] != 'deleted']),
]:
    things = [one for one in things if one.get('VpcId') not in default]
    print(what, len(things), 'of which tagged', sum(own(one) for one in things))
";

/// The network in two zones with a NAT gateway in each, as boto3 reports it.
const WHOLE: &str = "\
vpcs 1 of which tagged 1
subnets 4 of which tagged 4
internet gateways 1 of which tagged 1
nat gateways 2 of which tagged 2
addresses 2 of which tagged 2
route tables 3 of which tagged 3
acls 2 of which tagged 2
groups 3 of which tagged 3
rules 8 of which tagged 8
endpoints 1 of which tagged 1
";

fn stack_name() -> StackName {
    "digipay".parse().unwrap()
}

fn network(zones: &str, nat: NatMode) -> Stack {
    let mut stack = Stack::new(stack_name());
    let zone = |letter| format!("eu-central-1{letter}").parse().unwrap();
    let web = ServicePort {
        name: "web".parse().unwrap(),
        port: Port::new(8000).unwrap(),
    };
    let ports = OpenPorts {
        bastion_allow: Some(vec!["203.0.113.7/32".parse().unwrap()]),
        ..OpenPorts::new(vec![Port::new(80).unwrap()], vec![web])
    };
    let blueprint = TwoTier {
        cidr: "10.0.0.0/16".parse().unwrap(),
        zones: zones.chars().map(zone).collect(),
        nat,
        s3_endpoint: true,
        open_ports: ports.clone(),
    };
    let network = blueprint.add_to(&mut stack).unwrap();
    add_groups(&mut stack, &network.vpc.id(), &ports).unwrap();
    stack
}

async fn nothing_to_do(bed: &mut Bed, desired: &Stack) -> usize {
    bed.next_run().await;
    let plan = bed.plan(desired).await;
    let differing: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| !matches!(step.action, Action::Keep { .. }))
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
    bed.calls().0
}

async fn nothing_left(bed: &Bed) {
    let left = bed.moto.python(SEEN).await.unwrap();
    for line in left.lines() {
        assert!(line.contains(" 0 of which"), "{left}");
    }
}

#[tokio::test]
async fn needs_moto_lost_answers_leave_no_duplicates() {
    let faults = Faults::seeded(7).throttle(30).lose_every(10);
    let bed = Bed::behind(Endpoint::builder().faults(faults)).await;
    let desired = network("ab", NatMode::PerZone);
    bed.deploy(&desired).await;
    assert_eq!(bed.moto.python(SEEN).await.unwrap(), WHOLE);
    bed.destroy(&stack_name()).await;
    nothing_left(&bed).await;
}

#[tokio::test]
async fn needs_moto_preflight_names_what_the_account_lacks() {
    let bed = Bed::new().await;
    let allocate = "import boto3\nfor _ in range(4): boto3.client('ec2').allocate_address()";
    bed.moto.python(allocate).await.unwrap();
    let plan = bed.plan(&network("az", NatMode::PerZone)).await;
    let findings = bed.aws.preflight(&plan).await.unwrap();
    let reported: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        reported,
        [
            "the plan needs 2 more Elastic IPs in eu-central-1, and the account uses 4 of its 5",
            "eu-central-1 has no zone eu-central-1z that this account can use; needed by subnet/private-z, subnet/public-z",
        ]
    );
    assert_eq!(
        findings[1].hint_text(),
        Some("the account can use eu-central-1a, eu-central-1b, eu-central-1c")
    );
}

#[tokio::test]
async fn needs_moto_network_lifecycle_leaves_no_orphans() {
    let mut bed = Bed::new().await;
    let desired = network("ab", NatMode::PerZone);
    bed.deploy(&desired).await;
    let (deploy, actions) = bed.calls();
    println!(
        "deploy: {deploy} calls for {} resources\n{actions}",
        desired.resources().len()
    );
    assert_eq!(bed.moto.python(SEEN).await.unwrap(), WHOLE);
    let unchanged = nothing_to_do(&mut bed, &desired).await;
    println!("nothing to do: {unchanged} calls");

    for desired in [
        network("abc", NatMode::PerZone),
        network("abc", NatMode::Single),
        network("ab", NatMode::None),
        network("ab", NatMode::PerZone),
    ] {
        bed.next_run().await;
        bed.deploy(&desired).await;
        nothing_to_do(&mut bed, &desired).await;
    }

    bed.next_run().await;
    bed.destroy(&stack_name()).await;
    let (destroy, actions) = bed.calls();
    println!("destroy: {destroy} calls\n{actions}");
    nothing_left(&bed).await;
    // The present figures; more would be a regression.
    assert!(deploy <= 81 && unchanged <= 11 && destroy <= 56);
}
