//! A session with an emulator or a script, and the network for instances.

use std::time::Duration;

use landfall_aws::{Aws, AwsOptions, Keys};
use landfall_compute::aws::check;
use landfall_provider::{
    ApplyOptions, Input, Key, Live, PollInterval, Probe, Provider, Resource, ResourceId,
    SecurityGroupId, StackName, SubnetId,
};
use landfall_testkit::moto::{ACCESS_KEY, Moto, REGION};
use landfall_testkit::scripted::{Answer, Call, Endpoint, Faults, gaps};
use serde_json::Value;

/// An emulator with a VPC, two subnets and a security group.
pub(crate) struct Bed {
    pub(crate) moto: Moto,
    pub(crate) endpoint: Endpoint,
    pub(crate) aws: Aws,
    pub(crate) subnets: Vec<Input<SubnetId>>,
    pub(crate) group: Input<SecurityGroupId>,
}

const NETWORK: &str = r#"
import boto3, json
ec2 = boto3.client("ec2")
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
ec2.attach_internet_gateway(VpcId=vpc, InternetGatewayId=gateway)
zone = lambda letter: ec2.meta.region_name + letter
subnet = lambda n, letter: ec2.create_subnet(
    VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=zone(letter))["Subnet"]["SubnetId"]
group = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
print(json.dumps({"vpc": vpc, "subnets": [subnet(0, "a"), subnet(1, "b")], "group": group}))
"#;

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(Faults::seeded(0)).await
    }

    pub(crate) async fn with(faults: Faults) -> Self {
        let moto = Moto::start().await.unwrap();
        let network: Value = serde_json::from_str(&moto.python(NETWORK).await.unwrap()).unwrap();
        let endpoint = Endpoint::builder()
            .upstream(moto.address())
            .gaps(gaps::moto)
            .faults(faults)
            .start()
            .unwrap();
        let aws = session(endpoint.url()).await;
        endpoint.forget();
        let ids = network["subnets"].as_array().unwrap().iter();
        Self {
            moto,
            endpoint,
            aws,
            subnets: ids.map(id).collect(),
            group: id(&network["group"]),
        }
    }

    /// The output of boto3, as JSON.
    pub(crate) async fn boto(&self, program: &str) -> Value {
        let program = format!(
            "import boto3, json\n\
             client = boto3.client\n\
             print(json.dumps({program}, default=str))"
        );
        serde_json::from_str(&self.moto.python(&program).await.unwrap()).unwrap()
    }

    /// The calls since the last time, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.endpoint.calls();
        self.endpoint.forget();
        calls.iter().map(ToString::to_string).collect()
    }
}

pub(crate) fn id<T: ResourceId>(value: &Value) -> Input<T> {
    Input::Known(T::from(value.as_str().unwrap().to_owned()))
}

pub(crate) async fn session(url: String) -> Aws {
    let options = AwsOptions {
        endpoint: Some(url),
        region: Some(REGION.to_owned()),
        keys: Some(Keys {
            id: ACCESS_KEY.0.to_owned(),
            secret: ACCESS_KEY.1.to_owned(),
            session: None,
        }),
        ..AwsOptions::default()
    };
    Aws::open(options, vec![check()]).await.unwrap()
}

/// A session with a script's answers, and the account's identity.
pub(crate) async fn scripted(
    script: impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static,
) -> (Aws, Endpoint) {
    let endpoint = Endpoint::builder()
        .script(move |call, _| match call.action.as_str() {
            "GetCallerIdentity" => Some(call.result(
                "<Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/ana</Arn><UserId>A</UserId>",
            )),
            _ => script(call).or_else(|| match call.action.as_str() {
                "DescribeVpcs" | "DescribeAddresses" => Some(call.result("")),
                "DescribeTags" => Some(call.tagged()),
                _ => None,
            }),
        })
        .start()
        .unwrap();
    let aws = session(endpoint.url()).await;
    endpoint.forget();
    (aws, endpoint)
}

/// An emulator or a script is nearby, so the first probes are soon; faults are tolerated for half a
/// minute.
pub(crate) fn quick() -> ApplyOptions {
    ApplyOptions {
        poll_interval: PollInterval {
            first: Duration::from_millis(20),
            longest: Duration::from_secs(5),
        },
        ..ApplyOptions::default()
    }
}

pub(crate) fn stack() -> StackName {
    StackName::new("digipay").unwrap()
}

pub(crate) fn key<R: Resource>(name: &str) -> Key {
    Key::new(R::KIND, name.parse().unwrap())
}

pub(crate) async fn listed<R: Resource>(aws: &Aws) -> Vec<Live<R>>
where
    Aws: Provider<R>,
{
    aws.list(&stack()).await.unwrap()
}

/// Waits until it is usable, like the engine.
pub(crate) async fn usable<R: Resource>(aws: &Aws, id: &R::Id) -> R::Output
where
    Aws: Provider<R>,
{
    for _ in 0..50 {
        match Provider::<R>::probe(aws, id).await.unwrap() {
            Probe::Usable(output) => return output,
            Probe::Pending(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("{id} does not become usable");
}

/// The contract of every kind: it exists once under its name, and reads back as the desired spec;
/// after an update it matches the new one; after two deletes it is gone. Returns the state before
/// the end.
pub(crate) async fn conform<R: Resource>(aws: &Aws, desired: &R, changed: Option<&R>) -> R::Id
where
    Aws: Provider<R>,
{
    let (stack, key) = (stack(), key::<R>("web"));
    let id = aws.create(&stack, &key, desired).await.unwrap();
    usable::<R>(aws, &id).await;
    let found = listed::<R>(aws).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&found[0].id, found[0].name.as_str()), (&id, "web"));
    assert_eq!(&found[0].spec, desired);
    assert!(matches!(found[0].state, Probe::Usable(_)), "{found:?}");
    assert_eq!(aws.create(&stack, &key, desired).await.unwrap(), id);
    assert_eq!(listed::<R>(aws).await.len(), 1);
    if let Some(changed) = changed {
        aws.update(&found[0], changed).await.unwrap();
        let found = listed::<R>(aws).await;
        assert_eq!((found.len(), &found[0].id), (1, &id));
        assert_eq!(&found[0].spec, changed);
    }
    // Another stack's listing is empty.
    let other: Vec<Live<R>> = aws.list(&"other".parse().unwrap()).await.unwrap();
    assert_eq!(other, []);
    id
}

/// Deletes what [`conform`] left, twice.
pub(crate) async fn end<R: Resource>(aws: &Aws)
where
    Aws: Provider<R>,
{
    let live = listed::<R>(aws).await.remove(0);
    aws.delete(&live).await.unwrap();
    aws.delete(&live).await.unwrap();
    let gone = Provider::<R>::probe(aws, &live.id).await.unwrap();
    assert_eq!(gone, Probe::Absent);
    assert_eq!(listed::<R>(aws).await, []);
}
