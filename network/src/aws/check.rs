//! What stands against a network on AWS, before anything of it is made.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_ec2::types::AccountAttributeName;
use landfall_aws::{Aws, Check, during};
use landfall_provider::{Action, Error, ErrorKind, Key, Plan, Resource, Result};

use super::ec2;
use crate::{ElasticIp, SecurityGroup, SecurityGroupRules, Subnet};

/// The check of this crate's kinds: zones that the account has, Elastic IPs that are free, and words that AWS takes.
///
/// The quotas of VPCs and NAT gateways are not among them: EC2 does not tell them, and an account's own may be
/// higher than AWS's default.
#[must_use]
pub fn check() -> Box<dyn Check> {
    Box::new(Network)
}

struct Network;

#[async_trait]
impl Check for Network {
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        let mut findings = words(plan);
        findings.extend(addresses(aws, created::<ElasticIp>(plan).count()).await?);
        findings.extend(zones(aws, plan).await?);
        Ok(findings)
    }
}

/// What the plan makes of a kind.
fn created<R: Resource>(plan: &Plan) -> impl Iterator<Item = (&Key, R)> {
    plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { want, .. } if step.key.kind == R::KIND => {
            Some((&step.key, R::deserialize(want).ok()?))
        }
        _ => None,
    })
}

/// Five to a region, unless more was asked for.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
async fn addresses(aws: &Aws, wanted: usize) -> Result<Option<Error>> {
    if wanted == 0 {
        return Ok(None);
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
        return Ok(None);
    };
    let addresses = ec2(aws)
        .describe_addresses()
        .send()
        .await
        .map_err(during("ec2:DescribeAddresses"))?;
    let used = addresses.addresses().len();
    Ok((used + wanted > most).then(|| {
        Error::new(
            ErrorKind::Limit,
            format_args!(
                "the plan needs {wanted} more Elastic IPs in {}, and {used} of the account's {most} are in use",
                aws.region()
            ),
        )
        .hint("nat = \"single\" needs one for all zones; or release some, or ask for more in the Service Quotas console")
    }))
}

/// Not every region has a zone for every letter, and not every account all of a region's zones.
async fn zones(aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, subnet) in created::<Subnet>(plan) {
        let subnets = wanted.entry(subnet.zone.to_string()).or_default();
        subnets.push(key.to_string());
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let answer = ec2(aws)
        .describe_availability_zones()
        .send()
        .await
        .map_err(during("ec2:DescribeAvailabilityZones"))?;
    let there: BTreeSet<&str> = answer
        .availability_zones()
        .iter()
        .filter_map(|zone| zone.zone_name())
        .collect();
    let missing = wanted
        .iter()
        .filter(|(zone, _)| !there.contains(zone.as_str()));
    Ok(missing
        .map(|(zone, subnets)| {
            let names: Vec<&str> = there.iter().copied().collect();
            Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "{} has no zone {zone} for this account, and {} would stand there",
                    aws.region(),
                    subnets.join(", ")
                ),
            )
            .hint(format_args!(
                "the zones that are there: {}",
                names.join(", ")
            ))
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
        Action::Update { want, .. } if step.key.kind == SecurityGroupRules::KIND => Some((
            &step.key,
            <SecurityGroupRules as serde::Deserialize>::deserialize(want).ok()?,
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

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpRange.html>, and of a group the same.
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
