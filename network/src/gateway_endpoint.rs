//! A gateway endpoint: a route to an AWS service without NAT.

use std::time::Duration;

use landfall_provider::{
    Claim, GatewayEndpointId, Input, Kind, Reference, Resource, RouteTableId, VpcId, kind,
};
use serde::{Deserialize, Serialize};

/// A gateway endpoint, with a route in each of its route tables.
///
/// <https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayEndpoint {
    /// Its VPC.
    pub vpc: Input<VpcId>,
    /// The service.
    pub service: EndpointService,
    /// The route tables that get a route to the service's addresses.
    pub route_tables: Vec<Input<RouteTableId>>,
}

/// A service with gateway endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointService {
    /// Simple Storage Service, the source of image layers and system packages.
    S3,
}

impl Resource for GatewayEndpoint {
    const KIND: Kind = kind::GATEWAY_ENDPOINT;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc", "service"];
    const UNORDERED: &'static [&'static str] = &["route_tables"];
    const TYPICAL_CREATE_TIME: Duration = Duration::from_secs(6);
    type Id = GatewayEndpointId;
    type Output = ();

    // A table can have one route to a service: AWS refuses a second endpoint there with
    // `RouteAlreadyExists`.
    fn claims(&self) -> Vec<Claim> {
        let service = match self.service {
            EndpointService::S3 => 0,
        };
        let claim = |table| Claim::one(table, service);
        self.route_tables.iter().map(|table| claim(table)).collect()
    }

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.vpc];
        references.extend(
            self.route_tables
                .iter_mut()
                .map(|id| id as &mut dyn Reference),
        );
        references
    }
}
