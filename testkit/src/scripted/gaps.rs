//! Gaps of moto: scripted answers for features of AWS that moto lacks.

use std::collections::BTreeMap;

use super::{Answer, Call, Upstream};

/// Answers the calls that moto 5.2 cannot answer like AWS; forwards all others to it.
#[must_use]
pub fn moto(call: &Call, upstream: &Upstream) -> Option<Answer> {
    match (call.service.as_str(), call.action.as_str()) {
        ("ec2", "DescribeTags") => Some(tags_of_what_there_is(call, upstream)),
        ("elasticloadbalancing", "CreateLoadBalancer") => same_balancer(call, upstream),
        ("elasticloadbalancing", "CreateListener") => same_port(call, upstream),
        ("autoscaling", "PutScalingPolicy") => Some(put_policy(call, upstream)),
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

/// This answer, unless moto denies the caller: it checks permissions even for calls that it does
/// not support.
pub fn unless_refused(call: &Call, upstream: &Upstream, answer: impl FnOnce() -> Answer) -> Answer {
    let asked = upstream.ask(call);
    let refused = matches!(asked.status, 401 | 403) || asked.body.contains("AccessDenied");
    if refused { asked } else { answer() }
}

/// The tags of a resource are deleted with it; moto keeps them.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-basics>
fn tags_of_what_there_is(call: &Call, upstream: &Upstream) -> Answer {
    let reported = upstream.ask(call);
    let mut there: BTreeMap<&str, String> = BTreeMap::new();
    let mut stands = |item: &str| {
        let id = item.split_once("<resourceId>");
        let id = id.and_then(|(_, rest)| Some(rest.split_once("</resourceId>")?.0));
        let kind = id.and_then(|id| {
            let kind = KINDS.iter().find(|(prefix, _)| id.starts_with(prefix))?;
            Some((id, kind.1))
        });
        let Some((id, describe)) = kind else {
            return true;
        };
        let shown = there.entry(describe).or_insert_with(|| {
            let mut look = call.clone();
            look.action = describe.to_owned();
            look.body = format!("Action={describe}&Version=2016-11-15");
            let shown = upstream.ask(&look);
            match shown.status {
                200 => shown.body,
                // A caller without permission gets moto's answer.
                _ => reported.body.clone(),
            }
        });
        shown.contains(&format!(">{id}<"))
    };
    let Some((head, items)) = reported.body.split_once("<item>") else {
        return reported;
    };
    let (items, tail) = items.rsplit_once("</item>").unwrap_or((items, ""));
    let standing = items.split("<item>").filter(|item| stands(item));
    let standing: Vec<String> = standing
        .map(|item| {
            format!(
                "<item>{}</item>",
                item.trim_end().trim_end_matches("</item>")
            )
        })
        .collect();
    Answer {
        body: format!("{head}{}{tail}", standing.concat()),
        ..reported.clone()
    }
}

/// The id prefixes, and the call that lists the resources of a kind.
const KINDS: [(&str, &str); 12] = [
    ("vpc-", "DescribeVpcs"),
    ("subnet-", "DescribeSubnets"),
    ("igw-", "DescribeInternetGateways"),
    ("eipalloc-", "DescribeAddresses"),
    ("rtb-", "DescribeRouteTables"),
    ("acl-", "DescribeNetworkAcls"),
    ("sgr-", "DescribeSecurityGroupRules"),
    ("sg-", "DescribeSecurityGroups"),
    ("key-", "DescribeKeyPairs"),
    ("lt-", "DescribeLaunchTemplates"),
    ("vpce-", "DescribeVpcEndpoints"),
    ("nat-", "DescribeNatGateways"),
];

/// A second call with the same settings returns the existing balancer; moto creates another one.
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

/// A balancer has one listener per port; moto creates a second one.
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

/// The answer to a put contains the policy's ARN; moto returns it only on a describe.
///
/// <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html>
fn put_policy(call: &Call, upstream: &Upstream) -> Answer {
    let put = upstream.ask(call);
    if put.status != 200 {
        return put;
    }
    let mut look = call.clone();
    look.action = "DescribePolicies".to_owned();
    look.body = serde_urlencoded::to_string([
        ("Action", "DescribePolicies"),
        ("Version", "2011-01-01"),
        ("AutoScalingGroupName", call.field("AutoScalingGroupName")),
        ("PolicyNames.member.1", call.field("PolicyName")),
    ])
    .unwrap_or_default();
    let shown = upstream.ask(&look).body;
    let arn = shown.split_once("<PolicyARN>");
    match arn.and_then(|(_, rest)| rest.split_once("</PolicyARN>")) {
        Some((arn, _)) => call.result(&format!("<PolicyARN>{arn}</PolicyARN>")),
        None => put,
    }
}

/// A refresh that has replaced every instance of the queried group.
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
