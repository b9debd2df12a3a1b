//! Each kind separately, through the provider's operations.

use landfall_aws::Aws;
use landfall_network::{
    AclAction, AclEntry, Direction, ElasticIp, EndpointService, GatewayEndpoint, InternetGateway,
    NatGateway, NetworkAcl, Peer, PortRange, Protocol, Route, RouteTable, RouteTarget,
    SecurityGroup, SecurityGroupRules, SecurityRule, Subnet, Vpc,
};
use landfall_provider::{
    Change, Input, Key, Live, Probe, Provider, Resource, ResourceName, StackName,
};

use crate::bed::{Bed, session};

fn stack() -> StackName {
    "digipay".parse().unwrap()
}

fn name() -> ResourceName {
    "one".parse().unwrap()
}

/// The only resource of the stack.
async fn only<R: Resource>(aws: &Aws) -> Live<R>
where
    Aws: Provider<R>,
{
    let mut all = Provider::<R>::list(aws, &stack()).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Creates it, checks that it is listed as desired, and that repeated creates make only one.
async fn made<R: Resource>(bed: &Bed, desired: &R) -> Live<R>
where
    Aws: Provider<R>,
{
    let key = Key {
        kind: R::KIND,
        name: name(),
    };
    let id = bed.aws.create(&stack(), &key, desired).await.unwrap();
    assert!(matches!(
        Provider::<R>::probe(&bed.aws, &id).await.unwrap(),
        Probe::Usable(_)
    ));
    let aws = session(bed.endpoint.url()).await;
    assert!(matches!(
        Provider::<R>::probe(&aws, &id).await.unwrap(),
        Probe::Usable(_)
    ));
    let live = only::<R>(&aws).await;
    assert_eq!((&live.id, &live.name), (&id, &name()));
    assert_eq!(
        R::change(&live.spec, desired),
        Change::Keep,
        "{:?}",
        live.spec
    );
    assert_eq!(aws.create(&stack(), &key, desired).await.unwrap(), id);
    // A session without a listing.
    let aws = session(bed.endpoint.url()).await;
    assert_eq!(aws.create(&stack(), &key, desired).await.unwrap(), id);
    only::<R>(&aws).await
}

async fn changed<R: Resource>(bed: &Bed, desired: &R)
where
    Aws: Provider<R>,
{
    let live = only::<R>(&bed.aws).await;
    bed.aws.update(&live, desired).await.unwrap();
    let now = only::<R>(&bed.aws).await;
    assert_eq!(now.id, live.id);
    assert_eq!(
        R::change(&now.spec, desired),
        Change::Keep,
        "{:?}",
        now.spec
    );
    // An update without changes is no failure, and neither is a repeated one.
    bed.aws.update(&now, desired).await.unwrap();
    bed.aws.update(&live, desired).await.unwrap();
    assert_eq!(only::<R>(&bed.aws).await.spec, now.spec);
}

/// Deletes it twice.
async fn ended<R: Resource>(bed: &Bed, live: &Live<R>)
where
    Aws: Provider<R>,
{
    bed.aws.delete(live).await.unwrap();
    let aws = session(bed.endpoint.url()).await;
    assert_eq!(
        Provider::<R>::probe(&aws, &live.id).await.unwrap(),
        Probe::Absent
    );
    aws.delete(live).await.unwrap();
    assert_eq!(Provider::<R>::list(&aws, &stack()).await.unwrap(), []);
}

fn anywhere() -> ipnet::Ipv4Net {
    "0.0.0.0/0".parse().unwrap()
}

#[tokio::test]
async fn needs_moto_a_vpc_with_its_gateway_and_subnet() {
    let bed = Bed::new().await;
    let vpc = made(
        &bed,
        &Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
        },
    )
    .await;
    let gateway = made(
        &bed,
        &InternetGateway {
            vpc: vpc.id.clone().into(),
        },
    )
    .await;
    let subnet = Subnet {
        vpc: vpc.id.clone().into(),
        zone: "eu-central-1a".parse().unwrap(),
        cidr: "10.0.1.0/24".parse().unwrap(),
    };
    let subnet = made(&bed, &subnet).await;
    let seen = bed
        .moto
        .python(&format!(
            "
import boto3
ec2 = boto3.client('ec2')
vpc = '{}'
for name in 'enableDnsSupport', 'enableDnsHostnames':
    print(ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)[name[0].upper() + name[1:]]['Value'])
groups = ec2.describe_security_groups(Filters=[dict(Name='vpc-id', Values=[vpc])])['SecurityGroups']
print([(group['GroupName'], group['IpPermissions'], group['IpPermissionsEgress']) for group in groups])
print(sorted(tag['Key'] for tag in ec2.describe_vpcs(VpcIds=[vpc])['Vpcs'][0]['Tags']))
",
            vpc.id
        ))
        .await
        .unwrap();
    assert_eq!(
        seen,
        "True\nTrue\n[('default', [], [])]\n['Name', 'landfall:name', 'landfall:stack']\n"
    );
    ended(&bed, &subnet).await;
    ended(&bed, &gateway).await;
    ended(&bed, &vpc).await;
}

#[tokio::test]
async fn needs_moto_addresses_nat_gateways_routes_and_the_endpoint() {
    let bed = Bed::new().await;
    let vpc = made(
        &bed,
        &Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
        },
    )
    .await;
    let gateway = made(
        &bed,
        &InternetGateway {
            vpc: vpc.id.clone().into(),
        },
    )
    .await;
    let subnet = Subnet {
        vpc: vpc.id.clone().into(),
        zone: "eu-central-1a".parse().unwrap(),
        cidr: "10.0.1.0/24".parse().unwrap(),
    };
    let subnet = made(&bed, &subnet).await;
    let address = made(&bed, &ElasticIp {}).await;
    let nat = NatGateway {
        subnet: subnet.id.clone().into(),
        address: address.id.clone().into(),
    };
    let nat = made(&bed, &nat).await;
    // An address in use is the same as a free one.
    made(&bed, &ElasticIp {}).await;

    let mut table = RouteTable {
        vpc: vpc.id.clone().into(),
        routes: vec![Route {
            destination: anywhere(),
            via: RouteTarget::NatGateway(nat.id.clone().into()),
        }],
        subnets: Vec::new(),
    };
    let first = made(&bed, &table).await;
    let endpoint = GatewayEndpoint {
        vpc: vpc.id.clone().into(),
        service: EndpointService::S3,
        route_tables: vec![first.id.clone().into()],
    };
    let endpoint = made(&bed, &endpoint).await;
    table.subnets.push(subnet.id.clone().into());
    changed(&bed, &table).await;
    table.routes[0].via = RouteTarget::InternetGateway(gateway.id.clone().into());
    table.routes.push(Route {
        destination: "192.0.2.0/24".parse().unwrap(),
        via: RouteTarget::NatGateway(nat.id.clone().into()),
    });
    changed(&bed, &table).await;
    table.routes.remove(0);
    table.subnets.clear();
    changed(&bed, &table).await;
    table.subnets.push(subnet.id.clone().into());
    changed(&bed, &table).await;
    let none = GatewayEndpoint {
        route_tables: Vec::new(),
        ..endpoint.spec.clone()
    };
    changed(&bed, &none).await;

    ended(&bed, &endpoint).await;
    let table = only::<RouteTable>(&bed.aws).await;
    ended(&bed, &table).await;
    ended(&bed, &nat).await;
    ended(&bed, &address).await;
}

#[tokio::test]
async fn needs_moto_network_acls() {
    let bed = Bed::new().await;
    let vpc = made(
        &bed,
        &Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
        },
    )
    .await;
    let subnet = Subnet {
        vpc: vpc.id.clone().into(),
        zone: "eu-central-1a".parse().unwrap(),
        cidr: "10.0.1.0/24".parse().unwrap(),
    };
    let subnet = made(&bed, &subnet).await;
    let entry = |number, direction, protocol, ports| AclEntry {
        number,
        direction,
        action: AclAction::Allow,
        protocol,
        ports,
        cidr: anywhere(),
    };
    let http = PortRange { from: 80, to: 80 };
    let mut acl = NetworkAcl {
        vpc: vpc.id.clone().into(),
        entries: vec![
            entry(100, Direction::Ingress, Protocol::Tcp, http),
            entry(100, Direction::Egress, Protocol::Udp, PortRange::EPHEMERAL),
            entry(110, Direction::Egress, Protocol::Icmp, PortRange::ALL),
            entry(120, Direction::Egress, Protocol::All, PortRange::ALL),
        ],
        subnets: vec![subnet.id.clone().into()],
    };
    made(&bed, &acl).await;
    acl.entries[0].action = AclAction::Deny;
    acl.entries.remove(2);
    acl.entries
        .push(entry(130, Direction::Ingress, Protocol::Tcp, http));
    changed(&bed, &acl).await;
    acl.subnets.clear();
    changed(&bed, &acl).await;
    acl.subnets.push(subnet.id.clone().into());
    changed(&bed, &acl).await;
    let live = only::<NetworkAcl>(&bed.aws).await;
    ended(&bed, &live).await;
    let seen = "
import boto3
acls = boto3.client('ec2').describe_network_acls(Filters=[dict(Name='association.subnet-id', Values=['SUBNET'])])
print([acl['IsDefault'] for acl in acls['NetworkAcls']])
";
    let seen = bed
        .moto
        .python(&seen.replace("SUBNET", subnet.id.as_ref()))
        .await
        .unwrap();
    assert_eq!(seen, "[True]\n");
}

#[tokio::test]
async fn needs_moto_security_groups_and_their_rules() {
    let bed = Bed::new().await;
    let vpc = made(
        &bed,
        &Vpc {
            cidr: "10.0.0.0/16".parse().unwrap(),
        },
    )
    .await;
    let group = SecurityGroup {
        vpc: vpc.id.clone().into(),
        description: "The load balancer".to_owned(),
    };
    let group = made(&bed, &group).await;
    let all = "
import boto3
rules = boto3.client('ec2').describe_security_group_rules(Filters=[dict(Name='group-id', Values=['GROUP'])])
print(sorted((rule['IsEgress'], rule.get('Description', '')) for rule in rules['SecurityGroupRules']))
"
    .replace("GROUP", group.id.as_ref());
    assert_eq!(bed.moto.python(&all).await.unwrap(), "[]\n");

    let rule = |direction, protocol, ports, peer, description: &str| SecurityRule {
        direction,
        protocol,
        ports,
        peer,
        description: description.to_owned(),
    };
    let http = PortRange { from: 80, to: 80 };
    let itself = Peer::Group(Input::Known(group.id.clone()));
    let mut rules = SecurityGroupRules {
        group: group.id.clone().into(),
        rules: vec![
            rule(
                Direction::Ingress,
                Protocol::Tcp,
                http,
                Peer::Cidr(anywhere()),
                "Clients",
            ),
            rule(
                Direction::Ingress,
                Protocol::Icmp,
                PortRange::ALL,
                itself.clone(),
                "Each other",
            ),
            rule(
                Direction::Egress,
                Protocol::Udp,
                PortRange::EPHEMERAL,
                itself,
                "Answers",
            ),
            rule(
                Direction::Egress,
                Protocol::All,
                PortRange::ALL,
                Peer::Cidr(anywhere()),
                "All",
            ),
        ],
    };
    made(&bed, &rules).await;
    rules.rules[0].description = "Everybody".to_owned();
    rules.rules[1].peer = Peer::Cidr("192.0.2.0/24".parse().unwrap());
    rules.rules.remove(3);
    changed(&bed, &rules).await;
    // moto returns a rule's description here only if its peer is an address.
    assert_eq!(
        bed.moto.python(&all).await.unwrap(),
        "[(False, 'Each other'), (False, 'Everybody'), (True, '')]\n"
    );
    // A manually added rule is found and removed.
    let by_hand = "
import boto3
boto3.client('ec2').authorize_security_group_ingress(
    GroupId='GROUP', IpProtocol='tcp', FromPort=22, ToPort=22, CidrIp='0.0.0.0/0')
"
    .replace("GROUP", group.id.as_ref());
    bed.moto.python(&by_hand).await.unwrap();
    assert_eq!(
        only::<SecurityGroupRules>(&bed.aws).await.spec.rules.len(),
        4
    );
    changed(&bed, &rules).await;
    // An empty set of rules still exists: it is not created again, and later rules belong to it.
    let three = std::mem::take(&mut rules.rules);
    changed(&bed, &rules).await;
    rules.rules = three;
    changed(&bed, &rules).await;
    let live = only::<SecurityGroupRules>(&bed.aws).await;
    ended(&bed, &live).await;

    rules.rules.clear();
    let none = made(&bed, &rules).await;
    bed.moto.python(&by_hand).await.unwrap();
    let by_hand = only::<SecurityGroupRules>(&bed.aws).await.spec.rules;
    assert_eq!(by_hand.len(), 1);
    changed(&bed, &rules).await;
    ended(&bed, &none).await;
    ended(&bed, &group).await;
}
