//! EC2 queries shared by the crates that implement EC2 kinds: a snapshot lists all kinds
//! concurrently, and one answer serves all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::types::{
    Address, AvailabilityZone, AvailabilityZoneOptInStatus, AvailabilityZoneState, Filter,
    LocationType, Vpc,
};
use landfall_provider::{Result, StackName};

use crate::call::during;
use crate::retry_guard::NonIdempotentRetryGuard;
use crate::session::Aws;
use crate::singleflight::Singleflight;
use crate::tags::OWNER_STACK;

/// Id prefixes of resources that AWS lists for up to an hour after their deletion, tags included,
/// and of resources deleted together with those. They do not show that a stack still has resources.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html>,
/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-working-with.html#nat-gateway-deleting>
const SHOWN_AFTER_THE_END: [&str; 5] = ["i-", "nat-", "vpce-", "eni-", "vol-"];

/// EC2's client, which retries no call [blindly](NonIdempotentRetryGuard).
#[must_use]
pub fn client(aws: &Aws) -> Client {
    aws.client(|config| {
        let config = Builder::from(config).interceptor(NonIdempotentRetryGuard);
        Client::from_conf(config.build())
    })
}

/// A filter of a `Describe` call: any of these values.
pub fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Filter {
    let values = values.into_iter().map(str::to_owned).collect();
    Filter::builder()
        .name(name)
        .set_values(Some(values))
        .build()
}

/// The filter for the resources of a stack.
#[must_use]
pub fn of_stack(stack: &StackName) -> Filter {
    filter(&format!("tag:{OWNER_STACK}"), [stack.as_str()])
}

/// The time after an answer during which it is reused by the same listing: creating a client takes
/// some milliseconds, and an emulator answers faster.
const SAME_LISTING: Duration = Duration::from_millis(250);

/// A stack's VPCs, shared by concurrent listings.
///
/// # Errors
/// When the call fails, most often for a missing permission.
pub async fn vpcs(aws: &Aws, stack: &StackName) -> Result<Arc<Vec<Vpc>>> {
    let (client, own) = (client(aws), of_stack(stack));
    listed_vpcs(aws)
        .recent(stack.as_str(), SAME_LISTING, move || async move {
            client
                .describe_vpcs()
                .filters(own)
                .into_paginator()
                .items()
                .send()
                .try_collect()
                .await
                .map(Arc::new)
                .map_err(during("ec2:DescribeVpcs"))
        })
        .await
}

/// Invalidates the short-lived answer of [`vpcs`]: a VPC was created or deleted.
pub fn vpcs_changed(aws: &Aws) {
    listed_vpcs(aws).forget();
}

fn listed_vpcs(aws: &Aws) -> Arc<Singleflight<Arc<Vec<Vpc>>>> {
    aws.client(|_| Arc::default())
}

/// A stack's Elastic IPs. The only call here without pages: an account has five addresses, or a few
/// dozen.
///
/// # Errors
/// When the call fails, most often for a missing permission.
pub async fn addresses(aws: &Aws, stack: &StackName) -> Result<Arc<Vec<Address>>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Arc<Vec<Address>>>>::default());
    let (client, own) = (client(aws), of_stack(stack));
    singleflight
        .join(
            &format!("ec2:DescribeAddresses {stack}"),
            move || async move {
                let answer = client.describe_addresses().filters(own).send().await;
                answer
                    .map(|answer| Arc::new(answer.addresses.unwrap_or_default()))
                    .map_err(during("ec2:DescribeAddresses"))
            },
        )
        .await
}

/// How long the account's zones and the offers of instance types are valid: they change within months.
const OFFERS_HOLD: Duration = Duration::from_secs(600);

/// The zones of the region that this account can use now: no local zones, no zones without an opt-in. Sorted.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AvailabilityZone.html>
///
/// # Errors
/// When the call fails, most often for a missing permission.
pub async fn zones(aws: &Aws) -> Result<Arc<BTreeSet<String>>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Arc<BTreeSet<String>>>>::default());
    let client = client(aws);
    singleflight
        .recent(
            "ec2:DescribeAvailabilityZones",
            OFFERS_HOLD,
            move || async move {
                let answer = client.describe_availability_zones().send().await;
                let answer = answer.map_err(during("ec2:DescribeAvailabilityZones"))?;
                let zones = answer.availability_zones.unwrap_or_default();
                let usable = zones.into_iter().filter(is_usable);
                Ok(Arc::new(usable.filter_map(|zone| zone.zone_name).collect()))
            },
        )
        .await
}

/// A missing field does not exclude a zone: an emulator leaves some out.
fn is_usable(zone: &AvailabilityZone) -> bool {
    let is_ordinary = zone.zone_type().is_none_or(|it| it == "availability-zone");
    let is_available = zone
        .state()
        .is_none_or(|it| *it == AvailabilityZoneState::Available);
    let is_opted_out = zone.opt_in_status() == Some(&AvailabilityZoneOptInStatus::NotOptedIn);
    is_ordinary && is_available && !is_opted_out
}

/// The zones that offer each of these instance types.
pub type Offers = BTreeMap<String, BTreeSet<String>>;

/// The zones that offer each of these instance types.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypeOfferings.html>
///
/// # Errors
/// When the call fails, most often for a missing permission.
pub async fn offers(aws: &Aws, types: &BTreeSet<&str>) -> Result<Arc<Offers>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Arc<Offers>>>::default());
    let client = client(aws);
    let wanted = filter("instance-type", types.iter().copied());
    let question: Vec<&str> = types.iter().copied().collect();
    singleflight
        .recent(&question.join(" "), OFFERS_HOLD, move || async move {
            let found: Vec<_> = client
                .describe_instance_type_offerings()
                .location_type(LocationType::AvailabilityZone)
                .filters(wanted)
                .into_paginator()
                .items()
                .send()
                .try_collect()
                .await
                .map_err(during("ec2:DescribeInstanceTypeOfferings"))?;
            let mut offers = Offers::new();
            for one in found {
                if let (Some(kind), Some(zone)) = (one.instance_type, one.location) {
                    let zones = offers.entry(kind.as_str().to_owned()).or_default();
                    zones.insert(zone);
                }
            }
            Ok(Arc::new(offers))
        })
        .await
}

/// Whether a stack certainly has no resource with this id prefix (`subnet-`), so that no listing is
/// needed: before the first deploy, and after the last destroy.
///
/// The answer is certain only where AWS shows neither a VPC nor the tags of any existing resource.
/// AWS may show recent resources late in both places; if anything is shown, each kind is listed.
///
/// # Errors
/// When a call fails, most often for a missing permission.
pub async fn has_none(aws: &Aws, stack: &StackName, prefix: &str) -> Result<bool> {
    if !vpcs(aws, stack).await?.is_empty() {
        return Ok(false);
    }
    let tagged = tagged(aws, stack).await?;
    let stands = |id: &String| !SHOWN_AFTER_THE_END.iter().any(|it| id.starts_with(it));
    Ok(!tagged.iter().any(|id| id.starts_with(prefix) || stands(id)))
}

/// The ids of all resources with the stack's tag.
async fn tagged(aws: &Aws, stack: &StackName) -> Result<Arc<Vec<String>>> {
    let singleflight = aws.client(|_| Arc::<Singleflight<Arc<Vec<String>>>>::default());
    let client = client(aws);
    let own = [
        filter("key", [OWNER_STACK]),
        filter("value", [stack.as_str()]),
    ];
    singleflight
        .join(&format!("ec2:DescribeTags {stack}"), move || async move {
            let tags: Vec<_> = client
                .describe_tags()
                .set_filters(Some(own.into()))
                .into_paginator()
                .items()
                .send()
                .try_collect()
                .await
                .map_err(during("ec2:DescribeTags"))?;
            let ids = tags.into_iter().filter_map(|tag| tag.resource_id);
            Ok(Arc::new(ids.collect()))
        })
        .await
}
