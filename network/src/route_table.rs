//! A route table: where packets that leave a subnet go.

use ipnet::Ipv4Net;
use landfall_provider::{
    Input, InternetGatewayId, Kind, NatGatewayId, Reference, Resource, RouteTableId, SubnetId,
    VpcId, kind,
};
use serde::{Deserialize, Serialize};

/// A route table with its routes and the subnets that use it.
///
/// The route to the VPC's own addresses is always there and not listed. Routes that a gateway
/// endpoint adds belong to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// The VPC that it belongs to.
    pub vpc: Input<VpcId>,
    /// The routes; the longest prefix wins, so their order says nothing.
    pub routes: Vec<Route>,
    /// The subnets that it is associated with.
    pub subnets: Vec<Input<SubnetId>>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The addresses that it is for.
    pub destination: Ipv4Net,
    /// Where packets to them go.
    pub via: RouteTarget,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteTarget {
    /// To the internet, for what has a public address.
    InternetGateway(Input<InternetGatewayId>),
    /// To the internet behind the gateway's address.
    NatGateway(Input<NatGatewayId>),
}

impl Resource for RouteTable {
    const KIND: Kind = kind::ROUTE_TABLE;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc"];
    const UNORDERED: &'static [&'static str] = &["routes", "subnets"];
    type Id = RouteTableId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        let mut references: Vec<&mut dyn Reference> = vec![&mut self.vpc];
        for route in &mut self.routes {
            references.push(match &mut route.via {
                RouteTarget::InternetGateway(id) => id,
                RouteTarget::NatGateway(id) => id,
            });
        }
        references.extend(self.subnets.iter_mut().map(|id| id as &mut dyn Reference));
        references
    }
}
