//! The public address of a starting instance, which AWS refuses for some seconds.

use std::sync::atomic::{AtomicUsize, Ordering};

use landfall_compute::Instance;
use landfall_provider::{Catalog, ErrorKind, Input, Live, Probe, Provider, Stack, apply, plan};
use landfall_testkit::scripted::{Answer, Call};
use serde_json::json;

use crate::bed::{quick, scripted, stack};

/// AWS's wordings: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>.
const REFUSALS: [(&str, &str); 2] = [
    (
        "IncorrectInstanceState",
        "The pending-instance-creation instance to which 'eni-1' is attached is not in a valid state for this operation",
    ),
    (
        "InvalidInstanceID",
        "The pending instance 'i-1' is not in a valid state for this operation.",
    ),
];

fn bastion(address: Option<&str>) -> Instance {
    Instance {
        subnet: Input::Known("subnet-1".into()),
        groups: Vec::new(),
        instance_type: "t3.micro".to_owned(),
        address: address.map(|id| Input::Known(id.into())),
        profile: None,
        key: None,
        workload: None,
    }
}

/// The instance, as launched and described.
const FOUND: &str = "<instancesSet><item><instanceId>i-1</instanceId>\
    <instanceState><code>16</code><name>running</name></instanceState>\
    <privateIpAddress>10.0.0.9</privateIpAddress>\
    <networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId></item></networkInterfaceSet>\
    </item></instancesSet>";

/// An account that refuses the first attempts to associate an address, and where a new instance is
/// not found by its tags:
/// <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>.
fn slow() -> impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static {
    let tries = AtomicUsize::new(0);
    move |call| {
        match call.action.as_str() {
        "GetParameter" => Some(Answer::json(&json!({ "Parameter": { "Value": "ami-1" } }))),
        "DescribeInstanceTypes" => Some(call.result(
            "<instanceTypeSet><item><instanceType>t3.micro</instanceType><processorInfo><supportedArchitectures>\
             <item>x86_64</item></supportedArchitectures></processorInfo></item></instanceTypeSet>",
        )),
        "DescribeInstances" if call.field("InstanceId.1").is_empty() => {
            Some(call.result("<reservationSet/>"))
        }
        "DescribeInstances" => Some(call.result(&format!(
            "<reservationSet><item><reservationId>r-1</reservationId>{FOUND}</item></reservationSet>"
        ))),
        "RunInstances" => Some(call.result(FOUND)),
        "AssociateAddress" => Some(match REFUSALS.get(tries.fetch_add(1, Ordering::Relaxed)) {
            Some((code, why)) => call.error(400, code, why),
            None => call.result("<return>true</return><associationId>eipassoc-1</associationId>"),
        }),
        _ => None,
    }
    }
}

#[tokio::test]
async fn it_is_given_again_and_no_second_instance_is_launched_for_it() {
    let (aws, endpoint) = scripted(slow()).await;
    let mut desired = Stack::new(stack());
    desired.add("bastion", bastion(Some("eipalloc-1")));
    let catalog = Catalog::new().with::<Instance>();
    let live = catalog.snapshot(&aws, &stack()).await.unwrap();
    let plan = plan(&desired, &live, catalog.schema()).unwrap();
    let applied = apply(&plan, &aws, &catalog, &quick()).await;
    assert!(applied.is_complete(), "{applied:#?}");
    let calls = endpoint.calls();
    let given = calls.iter().filter(|call| call.is("ec2:AssociateAddress"));
    assert_eq!(given.count(), 3);
    // The same token means the same instance to AWS: it answers with the first one.
    let mut tokens: Vec<&str> = calls
        .iter()
        .filter(|call| call.is("ec2:RunInstances"))
        .map(|call| call.field("ClientToken"))
        .collect();
    assert_eq!(tokens.len(), 3);
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
}

#[tokio::test]
async fn an_update_that_comes_too_early_is_to_be_tried_again() {
    let (aws, _endpoint) = scripted(slow()).await;
    let live = Live {
        id: "i-1".into(),
        name: "bastion".parse().unwrap(),
        spec: bastion(None),
        state: Probe::Pending("starting".to_owned()),
    };
    let desired = bastion(Some("eipalloc-1"));
    for (code, _) in REFUSALS {
        let error = aws.update(&live, &desired).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(code), "{error}");
    }
    aws.update(&live, &desired).await.unwrap();
}
