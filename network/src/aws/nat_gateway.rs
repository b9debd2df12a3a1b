//! A NAT gateway on AWS: creation takes minutes, and it stays visible for an hour after its
//! deletion.

use async_trait::async_trait;
use aws_sdk_ec2::types::{NatGateway as DescribedGateway, NatGatewayState, ResourceType};
use landfall_aws::{Aws, during, input, known, unless, until_visible};
use landfall_provider::{ErrorKind, Key, Live, NatGatewayId, Probe, Provider, Result, StackName};

use super::{
    Described, ResourceFilter, UNKNOWN, earlier, ec2, given, list, name_in, once, probe, shown,
    tags,
};
use crate::{NatGateway, NatGatewayOutput};

#[async_trait]
impl Described for NatGateway {
    const IDS: &'static str = "nat-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let gateways: Vec<_> = ec2(aws)
            .describe_nat_gateways()
            .set_filter(which.filters())
            .set_nat_gateway_ids(which.ids())
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeNatGateways"))?;
        let mut found = Vec::new();
        for gateway in gateways {
            let Some(name) = name_in(gateway.tags()) else {
                continue;
            };
            let mut state = state(&gateway);
            if state == Probe::Absent {
                continue;
            }
            // Before the gateway is available, its address may have only an allocation.
            let allocation = gateway
                .nat_gateway_addresses()
                .iter()
                .find_map(|address| address.allocation_id());
            found.push(Live {
                id: given(gateway.nat_gateway_id.clone(), "a NAT gateway's id")?.into(),
                name,
                spec: Self {
                    subnet: input(shown(
                        gateway.subnet_id(),
                        "its subnet",
                        UNKNOWN,
                        &mut state,
                    )),
                    // A failed gateway has released its address.
                    address: input(allocation.unwrap_or("none")),
                },
                state,
            });
        }
        Ok(found)
    }
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html>
fn state(gateway: &DescribedGateway) -> Probe<NatGatewayOutput> {
    match gateway.state() {
        Some(NatGatewayState::Available) => {
            let address = gateway
                .nat_gateway_addresses()
                .iter()
                .find_map(|address| address.public_ip()?.parse().ok());
            match address {
                Some(public_address) => Probe::Usable(NatGatewayOutput { public_address }),
                // One for private addresses alone, which no stack makes.
                None => Probe::Failed("AWS shows it without a public address".to_owned()),
            }
        }
        Some(NatGatewayState::Failed) => Probe::Failed(why(gateway)),
        Some(NatGatewayState::Deleting) => Probe::Ending("deleting".to_owned()),
        // Visible for about an hour; its address is free again.
        Some(NatGatewayState::Deleted) => Probe::Absent,
        _ => Probe::Pending("pending".to_owned()),
    }
}

/// <https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-troubleshooting.html#nat-gateway-troubleshooting-failed>
fn why(gateway: &DescribedGateway) -> String {
    match (gateway.failure_message(), gateway.failure_code()) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(why), None) | (None, Some(why)) => why.to_owned(),
        (None, None) => "AWS gives no reason".to_owned(),
    }
}

#[async_trait]
impl Provider<NatGateway> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<NatGateway>>> {
        list(self, stack).await
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &NatGateway,
    ) -> Result<NatGatewayId> {
        match earlier(self, stack, key, desired).await? {
            Some(live) if !matches!(live.state, Probe::Failed(_)) => return Ok(live.id),
            _ => {}
        }
        let made = ec2(self)
            .create_nat_gateway()
            .subnet_id(known(&desired.subnet)?)
            .allocation_id(known(&desired.address)?)
            .client_token(self.token_for(stack, key))
            .tag_specifications(tags(ResourceType::Natgateway, stack, &key.name))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(during("ec2:CreateNatGateway"))
            .map_err(until_visible)?;
        self.answered(stack, key);
        let id = made.nat_gateway.and_then(|gateway| gateway.nat_gateway_id);
        Ok(given(id, "the new NAT gateway's id")?.into())
    }

    async fn update(&self, _: &Live<NatGateway>, _: &NatGateway) -> Result<()> {
        // Both fields force a replacement.
        Ok(())
    }

    async fn probe(&self, id: &NatGatewayId) -> Result<Probe<NatGatewayOutput>> {
        probe::<NatGateway>(self, id).await
    }

    async fn delete(&self, live: &Live<NatGateway>) -> Result<()> {
        let outcome = ec2(self)
            .delete_nat_gateway()
            .nat_gateway_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteNatGateway"));
        unless(ErrorKind::NotFound, outcome)
    }
}
