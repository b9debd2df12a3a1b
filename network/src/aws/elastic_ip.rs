//! An Elastic IP on AWS. Its association is part of the resource that uses it.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use aws_sdk_ec2::types::{Address, DomainType, ResourceType};
use landfall_aws::ec2::addresses;
use landfall_aws::{Aws, during, until_visible};
use landfall_provider::{
    AllocationId, Error, ErrorKind, Key, Live, Probe, Provider, Resource as _, Result, StackName,
};

use super::{Described, ResourceFilter, earlier, ec2, given, gone, has_none, name_in, probe, tags};
use crate::{ElasticIp, ElasticIpOutput};

#[async_trait]
impl Described for ElasticIp {
    const IDS: &'static str = "eipalloc-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let addresses = ec2(aws)
            .describe_addresses()
            .set_filters(which.filters())
            .set_allocation_ids(which.ids())
            .send()
            .await
            .map_err(during("ec2:DescribeAddresses"))?;
        live(addresses.addresses())
    }
}

fn live(addresses: &[Address]) -> Result<Vec<Live<ElasticIp>>> {
    let mut live = Vec::new();
    for address in addresses {
        let Some(name) = name_in(address.tags()) else {
            continue;
        };
        live.push(Live {
            id: given(address.allocation_id.clone(), "an allocation's id")?.into(),
            name,
            spec: ElasticIp {},
            state: state(address.public_ip()),
        });
    }
    Ok(live)
}

fn state(address: Option<&str>) -> Probe<ElasticIpOutput> {
    let address: Option<Ipv4Addr> = address.and_then(|text| text.parse().ok());
    match address {
        Some(address) => Probe::Usable(ElasticIpOutput { address }),
        None => Probe::Failed("AWS shows it without an IPv4 address".to_owned()),
    }
}

#[async_trait]
impl Provider<ElasticIp> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<ElasticIp>>> {
        let found = match has_none(self, stack, ElasticIp::IDS).await? {
            true => Vec::new(),
            false => live(&addresses(self, stack).await?)?,
        };
        let names = found.iter().map(|live| live.name.clone());
        self.listed(stack, ElasticIp::KIND, names);
        Ok(found)
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &ElasticIp,
    ) -> Result<AllocationId> {
        if let Some(live) = earlier(self, stack, key, desired).await? {
            return Ok(live.id);
        }
        let made = ec2(self)
            .allocate_address()
            .domain(DomainType::Vpc)
            .tag_specifications(tags(ResourceType::ElasticIp, stack, &key.name))
            .send()
            .await
            .map_err(during("ec2:AllocateAddress"))
            .map_err(until_visible)?;
        let id = AllocationId::from(given(
            made.allocation_id.clone(),
            "the new allocation's id",
        )?);
        self.seen::<ElasticIp>(&id, state(made.public_ip()));
        Ok(id)
    }

    async fn update(&self, _: &Live<ElasticIp>, _: &ElasticIp) -> Result<()> {
        // An Elastic IP has no fields to update.
        Ok(())
    }

    async fn probe(&self, id: &AllocationId) -> Result<Probe<ElasticIpOutput>> {
        probe::<ElasticIp>(self, id).await
    }

    async fn delete(&self, live: &Live<ElasticIp>) -> Result<()> {
        // Refused while a NAT gateway has the address, which it releases only when it is deleted.
        let outcome = ec2(self)
            .release_address()
            .allocation_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:ReleaseAddress"));
        let outcome = match outcome {
            Err(error) if is_held(&error) => Err(holder(self, &live.id, error).await),
            outcome => outcome.map(|_| ()),
        };
        gone::<ElasticIp>(self, &live.id, outcome)
    }
}

/// AWS returns `AuthFailure` ("You do not have permission to access the specified resource") for an
/// address that a NAT gateway has, or had a moment ago. A caller without permission gets
/// `UnauthorizedOperation`.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReleaseAddress.html>
fn is_held(error: &Error) -> bool {
    error.kind() == ErrorKind::Denied && error.to_string().ends_with("(AuthFailure)")
}

/// The meaning of the refusal for an address that is still listed: its user has not released it
/// yet. With invalid keys this call is refused too, and that refusal is returned.
async fn holder(aws: &Aws, id: &AllocationId, refused: Error) -> Error {
    let found = ec2(aws)
        .describe_addresses()
        .allocation_ids(id.as_ref())
        .send()
        .await
        .map_err(during("ec2:DescribeAddresses"));
    let found = match found {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::Denied => return refused,
        Err(error) => return error,
    };
    let interface = found
        .addresses()
        .first()
        .and_then(|address| address.network_interface_id());
    let why = match interface {
        Some(interface) => format!("{id} is still held by {interface}: {refused}"),
        None => format!("AWS has not yet released {id} from its previous use: {refused}"),
    };
    Error::new(ErrorKind::InUse, why)
}
