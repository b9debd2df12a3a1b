//! Preflight checks of a network on AWS.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_ec2::types::AccountAttributeName;
use ipnet::Ipv4Net;
use landfall_aws::ec2::zones as usable_zones;
use landfall_aws::{Aws, Check, during, findings};
use landfall_provider::{Action, Error, ErrorKind, Key, Plan, Resource, Result};

use super::{ec2, filter};
use crate::{ElasticIp, SecurityGroup, SecurityGroupRules, Subnet, Vpc};

/// The check of this crate's kinds: zones of the account, free Elastic IPs, address ranges that
/// overlap those of other VPCs, and descriptions that AWS accepts. Quotas that EC2 does not report
/// are in [`quotas`](super::quotas).
#[must_use]
pub fn check() -> Box<dyn Check> {
    Box::new(Network)
}

struct Network;

#[async_trait]
impl Check for Network {
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        Ok(findings([
            Ok(words(plan)),
            addresses(aws, more::<ElasticIp>(plan)).await,
            zones(aws, plan).await,
            collisions(aws, plan).await,
        ]))
    }
}

/// The maximum increase in the number of resources of a kind while the plan is applied: a resource
/// that is created after another is deleted takes its place.
pub(super) fn more<R: Resource>(plan: &Plan) -> usize {
    let mut freed = BTreeSet::new();
    let mut more = 0;
    for (index, step) in plan.steps.iter().enumerate() {
        if step.key.kind != R::KIND || !matches!(step.action, Action::Create { .. }) {
            continue;
        }
        let ended = before(plan, index).into_iter().find(|&other| {
            let other_step = &plan.steps[other];
            other_step.key.kind == R::KIND
                && matches!(other_step.action, Action::Delete { .. })
                && !freed.contains(&other)
        });
        match ended {
            Some(other) => {
                freed.insert(other);
            }
            None => more += 1,
        }
    }
    more
}

/// Every step that a step waits for, directly or indirectly.
fn before(plan: &Plan, index: usize) -> BTreeSet<usize> {
    let mut before = BTreeSet::new();
    let mut todo = vec![index];
    while let Some(index) = todo.pop() {
        for after in &plan.steps[index].after {
            if before.insert(after.step) {
                todo.push(after.step);
            }
        }
    }
    before
}

/// The resources of a kind that the plan creates.
pub(super) fn created<R: Resource>(plan: &Plan) -> impl Iterator<Item = (&Key, R)> {
    plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { desired, .. } if step.key.kind == R::KIND => {
            Some((&step.key, R::deserialize(desired).ok()?))
        }
        _ => None,
    })
}

/// The default quota of Elastic IPs and VPCs (by region) and NAT gateways (by zone). A quota is
/// only ever raised on request, so only larger numbers need a query.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
pub(super) const AT_LEAST: usize = 5;

async fn addresses(aws: &Aws, wanted: usize) -> Result<Vec<Error>> {
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let addresses = ec2(aws)
        .describe_addresses()
        .send()
        .await
        .map_err(during("ec2:DescribeAddresses"))?;
    let used = addresses.addresses().len();
    if used + wanted <= AT_LEAST {
        return Ok(Vec::new());
    }
    let attributes = ec2(aws)
        .describe_account_attributes()
        .attribute_names(AccountAttributeName::from("vpc-max-elastic-ips"))
        .send()
        .await
        .map_err(during("ec2:DescribeAccountAttributes"))?;
    let most: Option<usize> = attributes
        .account_attributes()
        .iter()
        .filter(|one| one.attribute_name() == Some("vpc-max-elastic-ips"))
        .flat_map(|one| one.attribute_values())
        .find_map(|value| value.attribute_value()?.parse().ok());
    let Some(most) = most else {
        return Ok(Vec::new());
    };
    let finding = (used + wanted > most).then(|| {
        Error::new(
            ErrorKind::Limit,
            format_args!(
                "the plan needs {wanted} more Elastic IPs in {}, and the account uses {used} of its {most}",
                aws.region()
            ),
        )
        .hint("nat = \"single\" needs one for all zones; or release some, or ask for more in the Service Quotas console")
    });
    Ok(finding.into_iter().collect())
}

/// Overlaps between a new VPC and the VPCs that it may be or was connected to: other VPCs of the
/// stack, and those peered with one of them. Two VPCs with overlapping addresses cannot be peered.
///
/// <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-basics.html#vpc-peering-limitations>
async fn collisions(aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
    let wanted: Vec<(&Key, Vpc)> = created::<Vpc>(plan).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let own = own(plan);
    let mut others: Vec<(String, Ipv4Net)> = own
        .iter()
        .filter(|(_, _, stays)| *stays)
        .map(|(id, cidr, _)| (format!("{id} of this stack"), *cidr))
        .collect();
    others.extend(peers(aws, &own).await?);
    let mut findings = Vec::new();
    for (key, vpc) in &wanted {
        let collides = |cidr: &Ipv4Net| cidr.contains(&vpc.cidr) || vpc.cidr.contains(cidr);
        for (whose, cidr) in others.iter().filter(|(_, cidr)| collides(cidr)) {
            findings.push(
                Error::new(
                    ErrorKind::Invalid,
                    format_args!(
                        "{key}: {} overlaps with {cidr} of {whose}",
                        vpc.cidr
                    ),
                )
                .hint("set another `cidr` in [network]: VPCs with overlapping addresses cannot reach each other"),
            );
        }
    }
    Ok(findings)
}

/// The VPCs of the stack: their ids, their addresses, and whether they are kept.
fn own(plan: &Plan) -> Vec<(&str, Ipv4Net, bool)> {
    let of_kind = plan.steps.iter().filter(|step| step.key.kind == Vpc::KIND);
    let own = of_kind.filter_map(|step| {
        let (live, stays) = match &step.action {
            Action::Create { .. } => return None,
            Action::Keep { live } | Action::Update { live, .. } => (live, true),
            Action::Delete { live, .. } => (live, false),
        };
        let vpc = <Vpc as serde::Deserialize>::deserialize(&live.spec).ok()?;
        Some((live.id.as_str(), vpc.cidr, stays))
    });
    own.collect()
}

/// The VPCs peered with these, and their addresses.
async fn peers(aws: &Aws, own: &[(&str, Ipv4Net, bool)]) -> Result<Vec<(String, Ipv4Net)>> {
    let mut peers = Vec::new();
    if own.is_empty() {
        return Ok(peers);
    }
    // Each side needs its own call, because all filters of one call must match.
    for side in ["requester-vpc-info.vpc-id", "accepter-vpc-info.vpc-id"] {
        let connections: Vec<_> = ec2(aws)
            .describe_vpc_peering_connections()
            .filters(filter(side, own.iter().map(|(id, _, _)| *id)))
            .filters(filter(
                "status-code",
                ["active", "pending-acceptance", "provisioning"],
            ))
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeVpcPeeringConnections"))?;
        for connection in &connections {
            let sides = [
                connection.requester_vpc_info(),
                connection.accepter_vpc_info(),
            ];
            for other in sides.into_iter().flatten() {
                let id = other.vpc_id().unwrap_or("a VPC");
                if own.iter().any(|(own, _, _)| *own == id) {
                    continue;
                }
                let blocks = other
                    .cidr_block_set()
                    .iter()
                    .map(|block| block.cidr_block());
                let blocks = blocks.chain([other.cidr_block()]).flatten();
                let blocks: BTreeSet<Ipv4Net> = blocks.filter_map(|one| one.parse().ok()).collect();
                peers.extend(
                    blocks
                        .into_iter()
                        .map(|cidr| (format!("{id}, which is peered with this stack"), cidr)),
                );
            }
        }
    }
    Ok(peers)
}

/// Not every region has a zone for every letter, and not every account has all zones of a region.
async fn zones(aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, subnet) in created::<Subnet>(plan) {
        let subnets = wanted.entry(subnet.zone.to_string()).or_default();
        subnets.push(key.to_string());
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let there = usable_zones(aws).await?;
    let missing = wanted
        .iter()
        .filter(|(zone, _)| !there.contains(zone.as_str()));
    Ok(missing
        .map(|(zone, subnets)| {
            let names: Vec<&str> = there.iter().map(String::as_str).collect();
            Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "{} has no zone {zone} that this account can use; needed by {}",
                    aws.region(),
                    subnets.join(", ")
                ),
            )
            .hint(format_args!("the account can use {}", names.join(", ")))
        })
        .collect())
}

/// Descriptions that AWS would refuse.
fn words(plan: &Plan) -> Vec<Error> {
    let mut findings = Vec::new();
    for (key, group) in created::<SecurityGroup>(plan) {
        findings.extend(not_taken(key, &group.description));
    }
    let updated = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Update { desired, .. } if step.key.kind == SecurityGroupRules::KIND => Some((
            &step.key,
            <SecurityGroupRules as serde::Deserialize>::deserialize(desired).ok()?,
        )),
        _ => None,
    });
    for (key, rules) in created::<SecurityGroupRules>(plan).chain(updated) {
        for rule in rules.rules {
            findings.extend(not_taken(key, &rule.description));
        }
    }
    findings
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html>; the same rule applies
/// to groups.
fn not_taken(key: &Key, description: &str) -> Option<Error> {
    const OTHER: &str = " ._-:/()#,@[]+=&;{}!$*";
    let refused: BTreeSet<char> = description
        .chars()
        .filter(|&one| !one.is_ascii_alphanumeric() && !OTHER.contains(one))
        .collect();
    let why = if description.chars().count() > 255 {
        "is longer than 255 characters".to_owned()
    } else if refused.is_empty() {
        return None;
    } else {
        let refused: Vec<String> = refused.iter().map(|one| format!("{one:?}")).collect();
        format!("has {} in it", refused.join(", "))
    };
    Some(
        Error::new(
            ErrorKind::Invalid,
            format_args!("{key}: AWS does not take the description \"{description}\": it {why}"),
        )
        .hint(format_args!(
            "at most 255 letters without accents, digits, and{OTHER}"
        )),
    )
}

#[cfg(test)]
mod tests {
    use landfall_provider::{After, Found, Gate, Probe, Reason, Step};
    use serde_json::Value;

    use super::*;

    fn found(id: &str) -> Found {
        Found {
            key: Key::new(ElasticIp::KIND, "a".parse().unwrap()),
            id: id.to_owned(),
            spec: Value::Null,
            state: Probe::Usable(Value::Null),
        }
    }

    fn step(action: Action, after: &[usize]) -> Step {
        let after = after.iter().map(|&step| After {
            step,
            gate: Gate::Usable,
        });
        Step {
            key: Key::new(ElasticIp::KIND, "a".parse().unwrap()),
            action,
            after: after.collect(),
        }
    }

    #[test]
    fn quota_counts_replacements_once() {
        let made = |after: &[usize]| {
            let desired = serde_json::json!({});
            step(
                Action::Create {
                    desired,
                    because: None,
                },
                after,
            )
        };
        let ended = |id: &str| {
            let because = Reason::NotWanted;
            step(
                Action::Delete {
                    live: found(id),
                    because,
                },
                &[],
            )
        };
        for (steps, more) in [
            (vec![ended("1"), made(&[0])], 0),
            // A resource that waits for the successor finds the place taken.
            (vec![ended("1"), made(&[0]), made(&[1])], 1),
            // It takes one place, not two.
            (vec![ended("1"), made(&[0]), made(&[0])], 1),
            (vec![ended("1"), made(&[])], 1),
            (vec![made(&[]), made(&[])], 2),
        ] {
            let plan = Plan {
                stack: "digipay".parse().unwrap(),
                steps,
            };
            assert_eq!(super::more::<ElasticIp>(&plan), more, "{plan:?}");
        }
    }
}
