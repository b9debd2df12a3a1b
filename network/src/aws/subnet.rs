//! A subnet on AWS.

use async_trait::async_trait;
use aws_sdk_ec2::types::{ResourceType, SubnetState};
use landfall_aws::{Aws, during, input, known, until_visible};
use landfall_provider::{Key, Live, Probe, Provider, Result, StackName, SubnetId, Zone};

use super::{
    Described, ResourceFilter, UNKNOWN, cidr, earlier, ec2, given, gone, interfaces, list, name_in,
    probe, shown, tags,
};
use crate::Subnet;

#[async_trait]
impl Described for Subnet {
    const IDS: &'static str = "subnet-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let subnets: Vec<_> = ec2(aws)
            .describe_subnets()
            .set_filters(which.filters())
            .set_subnet_ids(which.ids())
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeSubnets"))?;
        let mut found = Vec::new();
        for subnet in subnets {
            let Some(name) = name_in(subnet.tags()) else {
                continue;
            };
            let zone = subnet.availability_zone();
            let zone = zone.and_then(|zone| Zone::new(zone).ok());
            let mut state = state(subnet.state());
            let unknown = Zone::new(UNKNOWN).expect("a literal name is one");
            found.push(Live {
                id: given(subnet.subnet_id.clone(), "a subnet's id")?.into(),
                name,
                spec: Self {
                    vpc: input(shown(subnet.vpc_id(), "its VPC", UNKNOWN, &mut state)),
                    zone: shown(zone, "a zone", unknown, &mut state),
                    cidr: cidr(subnet.cidr_block(), &mut state),
                },
                state,
            });
        }
        Ok(found)
    }
}

fn state(state: Option<&SubnetState>) -> Probe<()> {
    match state {
        Some(SubnetState::Available) => Probe::Usable(()),
        Some(SubnetState::Pending) | None => Probe::Pending("pending".to_owned()),
        Some(other) => Probe::Failed(other.as_str().to_owned()),
    }
}

#[async_trait]
impl Provider<Subnet> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<Subnet>>> {
        list(self, stack).await
    }

    async fn create(&self, stack: &StackName, key: &Key, desired: &Subnet) -> Result<SubnetId> {
        if let Some(live) = earlier(self, stack, key, desired).await? {
            return Ok(live.id);
        }
        let made = ec2(self)
            .create_subnet()
            .vpc_id(known(&desired.vpc)?)
            .availability_zone(desired.zone.as_str())
            .cidr_block(desired.cidr.to_string())
            .tag_specifications(tags(ResourceType::Subnet, stack, &key.name))
            .send()
            .await
            .map_err(during("ec2:CreateSubnet"))
            .map_err(until_visible)?;
        let made = given(made.subnet, "the new subnet")?;
        let id = SubnetId::from(given(made.subnet_id.clone(), "the new subnet's id")?);
        if made.state() == Some(&SubnetState::Available) {
            self.seen::<Subnet>(&id, Probe::Usable(()));
        }
        Ok(id)
    }

    async fn update(&self, _: &Live<Subnet>, _: &Subnet) -> Result<()> {
        // Every field forces a replacement.
        Ok(())
    }

    async fn probe(&self, id: &SubnetId) -> Result<Probe<()>> {
        probe::<Subnet>(self, id).await
    }

    async fn delete(&self, live: &Live<Subnet>) -> Result<()> {
        let outcome = ec2(self)
            .delete_subnet()
            .subnet_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteSubnet"));
        let outcome = outcome.map(|_| ());
        let outcome = interfaces::explain(self, "subnet-id", live.id.as_ref(), outcome).await;
        gone::<Subnet>(self, &live.id, outcome)
    }
}
