//! A gateway endpoint on AWS: it adds the service's prefix list to its route tables.

use async_trait::async_trait;
use aws_sdk_ec2::types::{ResourceType, VpcEndpoint, VpcEndpointType};
use landfall_aws::{Aws, all_known, during, input, known, until_visible};
use landfall_provider::{
    Error, ErrorKind, GatewayEndpointId, Key, Live, Probe, Provider, Result, StackName,
};

use super::{
    Described, ResourceFilter, UNKNOWN, earlier, ec2, given, list, name_in, once, probe, shown,
    tags,
};
use crate::{EndpointService, GatewayEndpoint};

#[async_trait]
impl Described for GatewayEndpoint {
    const IDS: &'static str = "vpce-";

    async fn find(aws: &Aws, which: ResourceFilter) -> Result<Vec<Live<Self>>> {
        let endpoints: Vec<_> = ec2(aws)
            .describe_vpc_endpoints()
            .set_filters(which.filters())
            .set_vpc_endpoint_ids(which.ids())
            .into_paginator()
            .items()
            .send()
            .try_collect()
            .await
            .map_err(during("ec2:DescribeVpcEndpoints"))?;
        let mut found = Vec::new();
        for endpoint in endpoints {
            let (Some(name), Some(service)) = (name_in(endpoint.tags()), service(&endpoint)) else {
                continue;
            };
            let mut state = state(&endpoint);
            if state == Probe::Absent {
                continue;
            }
            let tables = endpoint.route_table_ids();
            found.push(Live {
                id: given(endpoint.vpc_endpoint_id.clone(), "an endpoint's id")?.into(),
                name,
                spec: Self {
                    vpc: input(shown(endpoint.vpc_id(), "its VPC", UNKNOWN, &mut state)),
                    service,
                    route_tables: tables.iter().map(input).collect(),
                },
                state,
            });
        }
        Ok(found)
    }
}

/// By the end of its name; some partitions have other prefixes.
fn service(endpoint: &VpcEndpoint) -> Option<EndpointService> {
    endpoint
        .service_name()?
        .ends_with(".s3")
        .then_some(EndpointService::S3)
}

/// <https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html>: `com.amazonaws.<region>.s3`, in
/// every partition.
fn service_name(aws: &Aws, service: EndpointService) -> String {
    let service = match service {
        EndpointService::S3 => "s3",
    };
    format!("com.amazonaws.{}.{service}", aws.region())
}

/// AWS writes these states with and without a capital letter.
///
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_VpcEndpoint.html>
fn state(endpoint: &VpcEndpoint) -> Probe<()> {
    let state = endpoint.state().map_or("pending", |state| state.as_str());
    let state = state.to_ascii_lowercase();
    match state.as_str() {
        "available" => Probe::Usable(()),
        "deleting" => Probe::Ending(state),
        "deleted" => Probe::Absent,
        "failed" | "rejected" | "expired" => {
            let why = endpoint
                .last_error()
                .and_then(|error| error.message())
                .unwrap_or("AWS gives no reason");
            Probe::Failed(format!("{state}: {why}"))
        }
        _ => Probe::Pending(state),
    }
}

#[async_trait]
impl Provider<GatewayEndpoint> for Aws {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<GatewayEndpoint>>> {
        list(self, stack).await
    }

    async fn create(
        &self,
        stack: &StackName,
        key: &Key,
        desired: &GatewayEndpoint,
    ) -> Result<GatewayEndpointId> {
        match earlier(self, stack, key, desired).await? {
            Some(live) if !matches!(live.state, Probe::Failed(_)) => {
                self.update(&live, desired).await?;
                return Ok(live.id);
            }
            _ => {}
        }
        let made = ec2(self)
            .create_vpc_endpoint()
            .vpc_endpoint_type(VpcEndpointType::Gateway)
            .vpc_id(known(&desired.vpc)?)
            .service_name(service_name(self, desired.service))
            .set_route_table_ids(Some(all_known(&desired.route_tables)?))
            .client_token(self.token_for(stack, key))
            .tag_specifications(tags(ResourceType::VpcEndpoint, stack, &key.name))
            .customize()
            .config_override(once())
            .send()
            .await
            .map_err(during("ec2:CreateVpcEndpoint"))
            .map_err(until_visible)?;
        self.answered(stack, key);
        let endpoint = given(made.vpc_endpoint, "the new endpoint")?;
        let id: GatewayEndpointId =
            given(endpoint.vpc_endpoint_id.clone(), "the new endpoint's id")?.into();
        if state(&endpoint) == Probe::Usable(()) {
            self.seen::<GatewayEndpoint>(&id, Probe::Usable(()));
        }
        Ok(id)
    }

    async fn update(&self, live: &Live<GatewayEndpoint>, desired: &GatewayEndpoint) -> Result<()> {
        let (current, wanted) = (
            all_known(&live.spec.route_tables)?,
            all_known(&desired.route_tables)?,
        );
        let missing = |from: &[String], other: &[String]| -> Option<Vec<String>> {
            let missing: Vec<String> = from
                .iter()
                .filter(|id| !other.contains(id))
                .cloned()
                .collect();
            (!missing.is_empty()).then_some(missing)
        };
        let (add, remove) = (missing(&wanted, &current), missing(&current, &wanted));
        if add.is_none() && remove.is_none() {
            return Ok(());
        }
        ec2(self)
            .modify_vpc_endpoint()
            .vpc_endpoint_id(live.id.as_ref())
            .set_add_route_table_ids(add)
            .set_remove_route_table_ids(remove)
            .send()
            .await
            .map_err(during("ec2:ModifyVpcEndpoint"))?;
        Ok(())
    }

    async fn probe(&self, id: &GatewayEndpointId) -> Result<Probe<()>> {
        probe::<GatewayEndpoint>(self, id).await
    }

    async fn delete(&self, live: &Live<GatewayEndpoint>) -> Result<()> {
        // The call succeeds with a list of the endpoints that it could not delete.
        let answer = ec2(self)
            .delete_vpc_endpoints()
            .vpc_endpoint_ids(live.id.as_ref())
            .send()
            .await
            .map_err(during("ec2:DeleteVpcEndpoints"))?;
        let refused = answer.unsuccessful().iter().find_map(|one| one.error());
        match refused.map(|error| (error.code(), error.message())) {
            None
            | Some((Some("InvalidVpcEndpointId.NotFound" | "InvalidVpcEndpoint.NotFound"), _)) => {
                Ok(())
            }
            Some((code, message)) => Err(Error::new(
                ErrorKind::Other,
                format_args!(
                    "ec2:DeleteVpcEndpoints: {} ({})",
                    message.unwrap_or("refused"),
                    code.unwrap_or("no code")
                ),
            )),
        }
    }
}
