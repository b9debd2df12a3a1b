//! A session with an emulator or a script.

use std::time::Duration;

use landfall_aws::{Aws, AwsOptions, Keys};
use landfall_container::Repository;
use landfall_provider::{ApplyOptions, Key, Live, PollInterval, Provider, Resource, StackName};
use landfall_testkit::moto::{ACCESS_KEY, Moto, REGION};
use landfall_testkit::scripted::{Answer, Call, Endpoint};
use serde_json::Value;

/// An emulator, and a session with it.
pub(crate) struct Bed {
    pub(crate) moto: Moto,
    pub(crate) aws: Aws,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let moto = Moto::start().await.unwrap();
        let aws = session(moto.endpoint()).await;
        Self { moto, aws }
    }

    /// The output of boto3, as JSON.
    pub(crate) async fn boto(&self, expression: &str) -> Value {
        let program = format!(
            "import boto3, json\n\
             ecr = boto3.client('ecr')\n\
             print(json.dumps({expression}, default=str))"
        );
        serde_json::from_str(&self.moto.python(&program).await.unwrap()).unwrap()
    }
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

/// An emulator is nearby, so the first probes are soon.
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
    "digipay".parse().unwrap()
}

pub(crate) fn key<R: Resource>(name: &str) -> Key {
    Key::new(R::KIND, name.parse().unwrap())
}

pub(crate) async fn repositories(aws: &Aws) -> Vec<Live<Repository>> {
    aws.list(&stack()).await.unwrap()
}
