//! States that moto never shows: pending and failed balancers, and unhealthy targets.

use landfall_lb::{HealthReason, LbProvider, LoadBalancer, TargetState};
use landfall_provider::{ErrorKind, LoadBalancerId, Probe, Provider, TargetGroupId};

use crate::bed::{listed, scripted};

const ARN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/digipay-one-1/50dc6c495c0c9188";

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerState.html>
async fn probed(
    code: &'static str,
    reason: &'static str,
) -> Probe<landfall_lb::LoadBalancerOutput> {
    let (aws, _endpoint) = scripted(move |call| {
        call.is("elasticloadbalancing:DescribeLoadBalancers").then(|| {
            call.result(&format!(
                "<LoadBalancers><member><LoadBalancerArn>{ARN}</LoadBalancerArn>\
                 <DNSName>digipay-one-1.eu-central-1.elb.amazonaws.com</DNSName>\
                 <State><Code>{code}</Code><Reason>{reason}</Reason></State></member></LoadBalancers>"
            ))
        })
    })
    .await;
    Provider::<LoadBalancer>::probe(&aws, &LoadBalancerId::from(ARN))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_balancer_is_usable_when_it_is_active_even_if_impaired() {
    assert_eq!(
        probed("provisioning", "").await,
        Probe::Pending("provisioning".to_owned())
    );
    for code in ["active", "active_impaired"] {
        let Probe::Usable(output) = probed(code, "").await else {
            panic!("{code} is usable");
        };
        assert_eq!(
            output.dns_name,
            "digipay-one-1.eu-central-1.elb.amazonaws.com"
        );
    }
}

#[tokio::test]
async fn a_balancer_that_could_not_be_set_up_has_failed_and_says_why() {
    assert_eq!(
        probed("failed", "the subnet has no free addresses").await,
        Probe::Failed("AWS could not set it up: the subnet has no free addresses".to_owned())
    );
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeLoadBalancers.html>
#[tokio::test]
async fn a_balancer_that_is_not_found_is_absent() {
    let (aws, _endpoint) = scripted(|call| {
        Some(call.error(
            400,
            "LoadBalancerNotFound",
            "One or more load balancers not found",
        ))
    })
    .await;
    let probed = Provider::<LoadBalancer>::probe(&aws, &LoadBalancerId::from(ARN)).await;
    assert_eq!(probed.unwrap(), Probe::Absent);
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>
#[tokio::test]
async fn every_reason_of_aws_is_known_by_its_code() {
    let reported = [
        ("i-1", "initial", "Elb.RegistrationInProgress"),
        ("i-2", "initial", "Elb.InitialHealthChecking"),
        ("i-3", "unhealthy", "Target.ResponseCodeMismatch"),
        ("i-4", "unhealthy", "Target.Timeout"),
        ("i-5", "unhealthy", "Target.FailedHealthChecks"),
        ("i-6", "unused", "Target.NotRegistered"),
        ("i-7", "unused", "Target.NotInUse"),
        ("i-8", "draining", "Target.DeregistrationInProgress"),
        ("i-9", "unused", "Target.InvalidState"),
        ("i-a", "initial", "Elb.InternalError"),
        ("i-b", "healthy", ""),
        ("i-c", "unavailable", "Target.HealthCheckDisabled"),
    ];
    let (aws, _endpoint) = scripted(move |call| {
        let members: String = reported
            .iter()
            .map(|(id, state, reason)| {
                let reason = match *reason {
                    "" => String::new(),
                    reason => {
                        format!("<Reason>{reason}</Reason><Description>in words</Description>")
                    }
                };
                format!(
                    "<member><Target><Id>{id}</Id><Port>8000</Port></Target>\
                     <TargetHealth><State>{state}</State>{reason}</TargetHealth></member>"
                )
            })
            .collect();
        let list = format!("<TargetHealthDescriptions>{members}</TargetHealthDescriptions>");
        call.is("elasticloadbalancing:DescribeTargetHealth")
            .then(|| call.result(&list))
    })
    .await;
    let targets = aws
        .target_health(&TargetGroupId::from("arn"))
        .await
        .unwrap();
    let known = targets
        .iter()
        .filter(|target| target.reason.is_some())
        .count();
    assert_eq!((targets.len(), known), (12, 10));
    let of = |id: &str| targets.iter().find(|target| target.id == id).unwrap();
    assert_eq!(of("i-3").reason, Some(HealthReason::ResponseCodeMismatch));
    assert_eq!(of("i-3").description.as_deref(), Some("in words"));
    assert_eq!(of("i-b").state, TargetState::Healthy);
    assert_eq!(of("i-8").state, TargetState::Draining);
    assert_eq!(of("i-c").state, TargetState::Unhealthy);
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeLoadBalancers.html>: Marker and
/// NextMarker.
#[tokio::test]
async fn all_pages_are_read_own_resources_taken() {
    let balancer = |name: &str| {
        format!(
            "<member><LoadBalancerArn>arn:{name}</LoadBalancerArn><LoadBalancerName>{name}</LoadBalancerName>\
             <VpcId>vpc-1</VpcId><State><Code>active</Code></State></member>"
        )
    };
    let (aws, endpoint) = scripted(move |call| {
        Some(match call.action.as_str() {
            "DescribeLoadBalancers" if call.field("Marker").is_empty() => call.result(&format!(
                "<LoadBalancers>{}{}</LoadBalancers><NextMarker>2</NextMarker>",
                balancer("somebody-else"),
                balancer("digipay-fake")
            )),
            "DescribeLoadBalancers" => call.result(&format!(
                "<LoadBalancers>{}</LoadBalancers>",
                balancer("digipay-one-1")
            )),
            "DescribeTags" => call.result(
                "<TagDescriptions><member><ResourceArn>arn:digipay-one-1</ResourceArn><Tags>\
                 <member><Key>landfall:stack</Key><Value>digipay</Value></member>\
                 <member><Key>landfall:name</Key><Value>one</Value></member></Tags></member>\
                 <member><ResourceArn>arn:digipay-fake</ResourceArn><Tags>\
                 <member><Key>landfall:stack</Key><Value>digipay-two</Value></member>\
                 <member><Key>landfall:name</Key><Value>one</Value></member></Tags></member></TagDescriptions>",
            ),
            _ => call.result(""),
        })
    })
    .await;
    let found = listed::<LoadBalancer>(&aws).await;
    let ids: Vec<_> = found.iter().map(|live| live.id.to_string()).collect();
    assert_eq!(ids, ["arn:digipay-one-1"]);
    let asked = endpoint.calls();
    assert!(
        asked
            .iter()
            .all(|call| !call.body.contains("somebody-else"))
    );
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html>: LoadBalancerNotFound,
/// for all ARNs of the call.
#[tokio::test]
async fn a_neighbour_that_goes_while_tags_are_read_is_no_failure() {
    let (aws, _endpoint) = scripted(|call| {
        let balancer = |name: &str| {
            format!(
                "<member><LoadBalancerArn>arn:{name}</LoadBalancerArn><LoadBalancerName>{name}</LoadBalancerName>\
                 <VpcId>vpc-1</VpcId><State><Code>active</Code></State></member>"
            )
        };
        Some(match call.action.as_str() {
            "DescribeLoadBalancers" => call.result(&format!(
                "<LoadBalancers>{}{}</LoadBalancers>",
                balancer("digipay-two-main-1"),
                balancer("digipay-main-1")
            )),
            "DescribeTags" if call.body.contains("digipay-two") => call.error(
                400,
                "LoadBalancerNotFound",
                "One or more load balancers not found",
            ),
            "DescribeTags" => call.result(
                "<TagDescriptions><member><ResourceArn>arn:digipay-main-1</ResourceArn><Tags>\
                 <member><Key>landfall:stack</Key><Value>digipay</Value></member>\
                 <member><Key>landfall:name</Key><Value>main</Value></member></Tags></member></TagDescriptions>",
            ),
            _ => call.result(""),
        })
    })
    .await;
    let found = listed::<LoadBalancer>(&aws).await;
    let ids: Vec<_> = found.iter().map(|live| live.id.to_string()).collect();
    assert_eq!(ids, ["arn:digipay-main-1"]);
}

/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-delete.html>
#[tokio::test]
async fn a_protected_balancer_says_how_the_protection_is_lifted() {
    let (aws, _endpoint) = scripted(|call| {
        let why = "Load balancer cannot be deleted because deletion protection is enabled";
        Some(call.error(400, "OperationNotPermitted", why))
    })
    .await;
    let live = landfall_provider::Live {
        id: LoadBalancerId::from(ARN),
        name: "one".parse().unwrap(),
        spec: LoadBalancer {
            vpc: landfall_provider::Input::Known("vpc-1".into()),
            subnets: Vec::new(),
            groups: Vec::new(),
            idle_timeout: 60,
            protected: true,
        },
        state: Probe::Pending("provisioning".to_owned()),
    };
    let error = aws.delete(&live).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(
        error.hint_text().unwrap().contains("protect = false"),
        "{error:?}"
    );
}
