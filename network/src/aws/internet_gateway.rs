//! An internet gateway on AWS: created, then attached.

use async_trait::async_trait;
use aws_sdk_ec2::types::ResourceType;
use landfall_aws::{Aws, during, input, known, until_visible};
use landfall_provider::{InternetGatewayId, Key, Live, Probe, Provider, Result, StackName};

use super::{
    Described, ResourceFilter, begun, ec2, given, gone, half_made, interfaces, list, name_in,
    probe, tags, under,
};
use crate::InternetGateway;

/// Placeholder for a VPC's id while the gateway is detached.
const DETACHED: &str = "detached";

#[async_trait]
impl Described for InternetGateway {
    const IDS: &'static str = "igw-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let gateways: Vec<_> = ec2(aws)
            .describe_internet_gateways()
            .set_filters(which.filters())
            .set_internet_gateway_ids(which.ids())
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeInternetGateways"))?;
        let mut found = Vec::new();
        for gateway in gateways {
            let Some(name) = name_in(gateway.tags()) else {
                continue;
            };
            let attachment = gateway.attachments().first();
            let state = attachment.and_then(|attachment| attachment.state());
            found.push(Live {
                id: given(gateway.internet_gateway_id.clone(), "a gateway's id")?.into(),
                name,
                spec: Self {
                    vpc: input(
                        attachment
                            .and_then(|attachment| attachment.vpc_id())
                            .unwrap_or(DETACHED),
                    ),
                },
                // An attachment to a VPC is `available`, a state that is missing in the SDK's list.
                state: match state.map(|state| state.as_str()) {
                    Some("attaching") => Probe::Pending("attaching".to_owned()),
                    Some("detaching") => Probe::Ending("detaching".to_owned()),
                    Some("detached") | None => {
                        Probe::Failed("it is not attached to a VPC".to_owned())
                    }
                    Some(_) => Probe::Usable(()),
                },
            });
        }
        Ok(found)
    }
}

#[async_trait]
impl Provider<InternetGateway> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<InternetGateway>>> {
        list(self, stack).await
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &InternetGateway,
    ) -> Result<InternetGatewayId> {
        let vpc = known(&desired.vpc)?;
        let id = match unattached_or_whole(self, stack, key, desired).await? {
            Some(live) if live.spec == *desired => return Ok(live.id),
            Some(live) => live.id,
            None => make(self, stack, key).await?,
        };
        attach(self, &id, vpc)
            .await
            .map_err(half_made(self, stack, key, &id))?;
        self.seen::<InternetGateway>(&id, Probe::Usable(()));
        Ok(id)
    }

    async fn update(&self, _: &Live<InternetGateway>, _: &InternetGateway) -> Result<()> {
        // Its only field forces a replacement.
        Ok(())
    }

    async fn probe(&self, id: &InternetGatewayId) -> Result<Probe<()>> {
        probe::<InternetGateway>(self, id).await
    }

    async fn delete(&self, live: &Live<InternetGateway>) -> Result<()> {
        let vpc = known(&live.spec.vpc)?;
        if vpc != DETACHED {
            detach(self, &live.id, vpc).await?;
        }
        let outcome = ec2(self)
            .delete_internet_gateway()
            .internet_gateway_id(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteInternetGateway"));
        gone::<InternetGateway>(self, &live.id, outcome.map(|_| ()))
    }
}

/// The result of an earlier attempt: attached as desired, or not attached yet.
async fn unattached_or_whole(
    aws: &Aws,
    stack: &StackName,
    key: &Key,
    desired: &InternetGateway,
) -> Result<Option<Live<InternetGateway>>> {
    let found = under::<InternetGateway>(aws, stack, key).await?;
    let found = found
        .into_iter()
        .find(|live| live.spec == *desired || live.spec.vpc == input(DETACHED));
    begun(aws, stack, key, found).await
}

async fn make(aws: &Aws, stack: &StackName, key: &Key) -> Result<InternetGatewayId> {
    let made = ec2(aws)
        .create_internet_gateway()
        .tag_specifications(tags(ResourceType::InternetGateway, stack, &key.name))
        .send()
        .await
        .map_err(during("ec2:CreateInternetGateway"))
        .map_err(until_visible)?;
    let id = made
        .internet_gateway
        .and_then(|gateway| gateway.internet_gateway_id);
    Ok(given(id, "the new gateway's id")?.into())
}

async fn attach(aws: &Aws, id: &InternetGatewayId, vpc: &str) -> Result<()> {
    ec2(aws)
        .attach_internet_gateway()
        .internet_gateway_id(id.as_ref())
        .vpc_id(vpc)
        .send()
        .await
        .map_err(during("ec2:AttachInternetGateway"))?;
    Ok(())
}

/// Refused as long as any resource in the VPC has a public address.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachInternetGateway.html>
async fn detach(aws: &Aws, id: &InternetGatewayId, vpc: &str) -> Result<()> {
    let outcome = ec2(aws)
        .detach_internet_gateway()
        .internet_gateway_id(id.as_ref())
        .vpc_id(vpc)
        .send()
        .await;
    match outcome {
        Ok(_) => Ok(()),
        Err(error) => match error
            .as_service_error()
            .and_then(|error| error.meta().code())
        {
            // An earlier call, whose answer was lost, has detached it.
            Some("Gateway.NotAttached" | "InvalidInternetGatewayID.NotFound") => Ok(()),
            _ => {
                let refused = Err(during("ec2:DetachInternetGateway")(error));
                interfaces::explain(aws, "vpc-id", vpc, refused).await
            }
        },
    }
}
