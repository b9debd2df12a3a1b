//! A session with an emulator or a script, and the network for balancers.

use landfall_aws::{Aws, AwsOptions, Keys};
use landfall_provider::{
    Input, Key, Live, Provider, Resource, ResourceId, ResourceName, SecurityGroupId, StackName,
    SubnetId, VpcId,
};
use landfall_testkit::conformance::Case;
use landfall_testkit::moto::{ACCESS_KEY, Moto, REGION};
use landfall_testkit::scripted::{Answer, Call, Endpoint, Faults, gaps};
use serde_json::Value;
use std::time::Duration;

/// An emulator with a VPC, three subnets and two security groups.
pub(crate) struct Bed {
    _moto: Moto,
    pub(crate) endpoint: Endpoint,
    pub(crate) aws: Aws,
    pub(crate) vpc: Input<VpcId>,
    pub(crate) subnets: Vec<Input<SubnetId>>,
    pub(crate) groups: Vec<Input<SecurityGroupId>>,
}

const NETWORK: &str = r#"
import boto3, json
ec2 = boto3.client("ec2")
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
zone = lambda letter: ec2.meta.region_name + letter
subnet = lambda n, letter: ec2.create_subnet(
    VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=zone(letter))["Subnet"]["SubnetId"]
group = lambda name: ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
print(json.dumps({"vpc": vpc, "subnets": [subnet(0, "a"), subnet(1, "b"), subnet(2, "c")],
                  "groups": [group("one"), group("two")]}))
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
        Self {
            _moto: moto,
            endpoint,
            aws,
            vpc: id(&network["vpc"]),
            subnets: network["subnets"]
                .as_array()
                .unwrap()
                .iter()
                .map(id)
                .collect(),
            groups: network["groups"]
                .as_array()
                .unwrap()
                .iter()
                .map(id)
                .collect(),
        }
    }

    /// Runs the conformance test: create, update, delete.
    pub(crate) async fn live_through<R: Resource>(&self, desired: R, other: R)
    where
        Aws: Provider<R>,
    {
        let case = Case {
            provider: &self.aws,
            stack: &stack(),
            name: name("one"),
            desired,
            other: Some(other),
            time_limit: Duration::from_secs(20),
        };
        case.life()
            .await
            .unwrap_or_else(|broken| panic!("{broken}"));
    }

    /// Creates a resource, for others to refer to.
    pub(crate) async fn made<R: Resource>(&self, called: &str, desired: &R) -> Input<R::Id>
    where
        Aws: Provider<R>,
    {
        let key = Key::new(R::KIND, name(called));
        Input::Known(self.aws.create(&stack(), &key, desired).await.unwrap())
    }

    /// The calls since the last time, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.endpoint.calls();
        self.endpoint.forget();
        calls.iter().map(|call| call.action.clone()).collect()
    }
}

pub(crate) fn stack() -> StackName {
    "digipay".parse().unwrap()
}

fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

/// Every resource of a kind in the stack.
pub(crate) async fn listed<R: Resource>(aws: &Aws) -> Vec<Live<R>>
where
    Aws: Provider<R>,
{
    aws.list(&stack()).await.unwrap()
}

fn id<T: ResourceId>(value: &Value) -> Input<T> {
    Input::Known(T::from(value.as_str().unwrap().to_owned()))
}

async fn session(url: String) -> Aws {
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
    Aws::open(options, Vec::new()).await.unwrap()
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
            _ => script(call),
        })
        .start()
        .unwrap();
    let aws = session(endpoint.url()).await;
    endpoint.forget();
    (aws, endpoint)
}
