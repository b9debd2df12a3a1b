//! The zones of a stack and of its account, for the choice of zones before a plan.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_aws::ec2::{offers, zones};
use landfall_aws::{Aws, during};
use landfall_provider::{Result, StackName, Zone};

use super::{ec2, of_stack};

/// The zone and the addresses of each subnet of a stack.
///
/// # Errors
/// When the call fails, most often for a missing permission.
pub async fn zones_in_use(aws: &Aws, stack: &StackName) -> Result<Vec<(Zone, Ipv4Net)>> {
    let subnets: Vec<_> = ec2(aws)
        .describe_subnets()
        .filters(of_stack(stack))
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await
        .map_err(during("ec2:DescribeSubnets"))?;
    let of = subnets.iter().filter_map(|subnet| {
        let zone = Zone::new(subnet.availability_zone()?).ok()?;
        Some((zone, subnet.cidr_block()?.parse().ok()?))
    });
    Ok(of.collect())
}

/// The zones that this account can use and that offer all of these instance types, sorted. A type that no zone offers
/// excludes no zone: the preflight check reports it.
///
/// # Errors
/// When a call fails, most often for a missing permission.
pub async fn zones_offering(aws: &Aws, types: &BTreeSet<&str>) -> Result<Vec<Zone>> {
    let (zones, offers) = futures::try_join!(zones(aws), offers(aws, types))?;
    let offering = zones.iter().filter(|zone| {
        let lacks = |kind: &&str| {
            let offering = offers.get(*kind);
            offering.is_some_and(|offering| !offering.contains(*zone))
        };
        !types.iter().any(lacks)
    });
    Ok(offering.filter_map(|zone| Zone::new(zone).ok()).collect())
}
