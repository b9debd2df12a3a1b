//! Checks the account's quotas for the VPCs and NAT gateways of a plan.
//!
//! EC2 does not report these quotas; Service Quotas does, which is another service. A source of
//! quotas is passed in, and unknown quotas lead to no findings.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ec2::types::NatGatewayState;
use landfall_aws::{Aws, Check, Quotas, during, findings};
use landfall_provider::{Action, Error, ErrorKind, Input, Plan, Resource, Result, SubnetId};

use super::check::{AT_LEAST, created, more};
use super::{ec2, filter};
use crate::{NatGateway, Subnet, Vpc};

/// The codes of Service Quotas: <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>.
const SERVICE: &str = "vpc";
const VPCS: &str = "L-F678F1CE";
const NAT_GATEWAYS: &str = "L-FE5A380F";

/// Checks the account's quotas for the VPCs (by region) and NAT gateways (by zone) of a plan.
#[must_use]
pub fn quotas(quotas: impl Quotas + 'static) -> Box<dyn Check> {
    Box::new(Room(Box::new(quotas)))
}

struct Room(Box<dyn Quotas>);

#[async_trait]
impl Check for Room {
    async fn check(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        Ok(findings([
            self.vpcs(aws, plan).await,
            self.nat_gateways(aws, plan).await,
        ]))
    }
}

impl Room {
    async fn vpcs(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        let wanted = more::<Vpc>(plan);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let vpcs: Vec<_> = ec2(aws)
            .describe_vpcs()
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeVpcs"))?;
        let used = vpcs.len();
        if used + wanted <= AT_LEAST {
            return Ok(Vec::new());
        }
        let Some(most) = self.0.most(aws, SERVICE, VPCS).await else {
            return Ok(Vec::new());
        };
        Ok(exceeded("VPCs", aws.region(), wanted, used, most)
            .into_iter()
            .collect())
    }

    async fn nat_gateways(&self, aws: &Aws, plan: &Plan) -> Result<Vec<Error>> {
        let wanted = wanted_by_zone(plan);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let used = used_by_zone(aws).await?;
        let used = |zone: &String| used.get(zone).copied().unwrap_or_default();
        if wanted
            .iter()
            .all(|(zone, wanted)| used(zone) + wanted <= AT_LEAST)
        {
            return Ok(Vec::new());
        }
        let Some(most) = self.0.most(aws, SERVICE, NAT_GATEWAYS).await else {
            return Ok(Vec::new());
        };
        Ok(wanted
            .into_iter()
            .filter_map(|(zone, wanted)| exceeded("NAT gateways", &zone, wanted, used(&zone), most))
            .collect())
    }
}

fn exceeded(what: &str, place: &str, wanted: usize, used: usize, most: usize) -> Option<Error> {
    (used + wanted > most).then(|| {
        Error::new(
            ErrorKind::Limit,
            format_args!(
                "the plan needs {wanted} more {what} in {place}, and {used} of the account's {most} are in use"
            ),
        )
        .hint("delete some that are not needed, or ask for more in the Service Quotas console")
    })
}

/// The number of additional NAT gateways in each zone, as far as the plan contains the zones of
/// their subnets.
fn wanted_by_zone(plan: &Plan) -> BTreeMap<String, usize> {
    let mut zones = BTreeMap::new();
    for (_, gateway) in created::<NatGateway>(plan) {
        if let Some(zone) = zone_of(plan, &gateway.subnet) {
            *zones.entry(zone).or_default() += 1;
        }
    }
    zones
}

fn zone_of(plan: &Plan, subnet: &Input<SubnetId>) -> Option<String> {
    let spec = plan.steps.iter().find_map(|step| match &step.action {
        Action::Create { desired, .. } => {
            matches!(subnet, Input::Of(key, _) if *key == step.key).then_some(desired)
        }
        Action::Keep { live } | Action::Update { live, .. } => {
            let id = subnet.known().map(AsRef::as_ref);
            let of_key = matches!(subnet, Input::Of(key, _) if *key == step.key);
            (of_key || step.key.kind == Subnet::KIND && id == Some(live.id.as_str()))
                .then_some(&live.spec)
        }
        Action::Delete { .. } => None,
    })?;
    let subnet = <Subnet as serde::Deserialize>::deserialize(spec).ok()?;
    Some(subnet.zone.to_string())
}

/// The account's NAT gateways that count against the quota, by zone: pending, available and
/// deleting ones.
///
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-gateways>
async fn used_by_zone(aws: &Aws) -> Result<BTreeMap<String, usize>> {
    let counted = [
        NatGatewayState::Pending,
        NatGatewayState::Available,
        NatGatewayState::Deleting,
    ];
    let states = filter("state", counted.iter().map(NatGatewayState::as_str));
    let gateways: Vec<_> = ec2(aws)
        .describe_nat_gateways()
        .filter(states)
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeNatGateways"))?;
    let subnets: Vec<&str> = gateways
        .iter()
        .filter_map(|gateway| gateway.subnet_id())
        .collect();
    let mut zones = BTreeMap::new();
    if subnets.is_empty() {
        return Ok(zones);
    }
    let found: Vec<_> = ec2(aws)
        .describe_subnets()
        .filters(filter("subnet-id", subnets.iter().copied()))
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeSubnets"))?;
    for subnet in &found {
        let in_it = subnets.iter().filter(|id| Some(**id) == subnet.subnet_id());
        if let Some(zone) = subnet.availability_zone() {
            *zones.entry(zone.to_owned()).or_default() += in_it.count();
        }
    }
    Ok(zones)
}
