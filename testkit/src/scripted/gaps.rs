//! What AWS does and moto does not: answers that a script puts in moto's place.

use super::{Answer, Call, Upstream};

/// Answers the calls that moto 5.2 cannot answer as AWS does; leaves the others to it.
#[must_use]
pub fn moto(call: &Call, upstream: &Upstream) -> Option<Answer> {
    match (call.service.as_str(), call.action.as_str()) {
        ("elasticloadbalancing", "CreateLoadBalancer") => same_balancer(call, upstream),
        ("elasticloadbalancing", "CreateListener") => same_port(call, upstream),
        ("autoscaling", "StartInstanceRefresh") => Some(unless_refused(call, upstream, || {
            call.result(
                "<InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>",
            )
        })),
        ("autoscaling", "DescribeInstanceRefreshes") => {
            Some(unless_refused(call, upstream, || refreshed(call)))
        }
        _ => None,
    }
}

/// This answer, unless moto says that the caller may not ask: it decides that even of what it cannot do.
pub fn unless_refused(call: &Call, upstream: &Upstream, answer: impl FnOnce() -> Answer) -> Answer {
    let asked = upstream.ask(call);
    let refused = matches!(asked.status, 401 | 403) || asked.body.contains("AccessDenied");
    if refused { asked } else { answer() }
}

/// A second call with the same settings gives the balancer that is there; moto makes another one.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html>
fn same_balancer(call: &Call, upstream: &Upstream) -> Option<Answer> {
    let mut look = call.clone();
    look.action = "DescribeLoadBalancers".to_owned();
    look.body = format!(
        "Action=DescribeLoadBalancers&Version=2015-12-01&Names.member.1={}",
        call.field("Name")
    );
    let found = upstream.ask(&look);
    (found.status == 200).then(|| Answer {
        body: found
            .body
            .replace("DescribeLoadBalancers", "CreateLoadBalancer"),
        ..found
    })
}

/// A balancer has one listener for a port; moto makes a second one.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html>
fn same_port(call: &Call, upstream: &Upstream) -> Option<Answer> {
    let mut look = call.clone();
    look.action = "DescribeListeners".to_owned();
    look.body = serde_urlencoded::to_string([
        ("Action", "DescribeListeners"),
        ("Version", "2015-12-01"),
        ("LoadBalancerArn", call.field("LoadBalancerArn")),
    ])
    .ok()?;
    let port = format!("<Port>{}</Port>", call.field("Port"));
    let taken = upstream.ask(&look).body.contains(&port);
    taken.then(|| {
        call.error(
            400,
            "DuplicateListener",
            "A listener already exists on this port",
        )
    })
}

/// A refresh that has replaced every instance, of the group that is asked about.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeInstanceRefreshes.html>
fn refreshed(call: &Call) -> Answer {
    let group = call.field("AutoScalingGroupName");
    call.result(&format!(
        "<InstanceRefreshes><member>\
         <InstanceRefreshId>08b91cf7-8fa6-48af-b6a6-d227f40f1b9b</InstanceRefreshId>\
         <AutoScalingGroupName>{group}</AutoScalingGroupName><Status>Successful</Status>\
         <StartTime>2026-11-22T16:00:00Z</StartTime><EndTime>2026-11-22T16:05:00Z</EndTime>\
         <PercentageComplete>100</PercentageComplete><InstancesToUpdate>0</InstancesToUpdate>\
         </member></InstanceRefreshes>"
    ))
}
