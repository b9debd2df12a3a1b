//! An Elastic IP on AWS. What it is associated with is the other side's business.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use aws_sdk_ec2::types::{DomainType, ResourceType};
use landfall_aws::{Aws, during, until_visible};
use landfall_provider::{AllocationId, Key, Live, Probe, Provider, Result, StackName};

use super::{Described, Which, earlier, ec2, given, gone, list, name_in, probe, tags};
use crate::{ElasticIp, ElasticIpOutput};

#[async_trait]
impl Described for ElasticIp {
    async fn find(aws: &Aws, which: Which) -> Result<Vec<Live<Self>>> {
        // The one call here that has no pages: an account has five addresses, or a few dozen.
        let addresses = ec2(aws)
            .describe_addresses()
            .set_filters(which.filters())
            .set_allocation_ids(which.ids())
            .send()
            .await
            .map_err(during("ec2:DescribeAddresses"))?;
        let mut found = Vec::new();
        for address in addresses.addresses() {
            let Some(name) = name_in(address.tags()) else {
                continue;
            };
            found.push(Live {
                id: given(address.allocation_id.clone(), "an allocation's id")?.into(),
                name,
                spec: Self {},
                state: usable(address.public_ip())?,
            });
        }
        Ok(found)
    }
}

fn usable(address: Option<&str>) -> Result<Probe<ElasticIpOutput>> {
    let address: Option<Ipv4Addr> = address.and_then(|text| text.parse().ok());
    Ok(Probe::Usable(ElasticIpOutput {
        address: given(address, "an Elastic IP's address")?,
    }))
}

#[async_trait]
impl Provider<ElasticIp> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<ElasticIp>>> {
        list(self, stack).await
    }

    async fn create(&self, stack: &StackName, key: &Key, want: &ElasticIp) -> Result<AllocationId> {
        if let Some(live) = earlier(self, stack, key, want).await? {
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
        self.seen::<ElasticIp>(&id, usable(made.public_ip())?);
        Ok(id)
    }

    async fn update(&self, _: &Live<ElasticIp>, _: &ElasticIp) -> Result<()> {
        // There is nothing to it that could be changed.
        Ok(())
    }

    async fn probe(&self, id: &AllocationId) -> Result<Probe<ElasticIpOutput>> {
        probe::<ElasticIp>(self, id).await
    }

    async fn delete(&self, live: &Live<ElasticIp>) -> Result<()> {
        // Refused while a NAT gateway has it, which gives it back only when it is deleted.
        let outcome = ec2(self)
            .release_address()
            .allocation_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:ReleaseAddress"));
        gone::<ElasticIp>(self, &live.id, outcome.map(|_| ()))
    }
}
