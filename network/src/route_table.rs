//! A route table: the next hops of packets that leave a subnet.

use ipnet::Ipv4Net;
use landfall_provider::{
    Input, InternetGatewayId, Kind, NatGatewayId, Reference, Resource, RouteTableId, SubnetId,
    VpcId, kind,
};
use serde::{Deserialize, Serialize};

/// A route table with its routes and the subnets that use it.
///
/// The route to the VPC's own addresses always exists and is not listed. Routes that a gateway
/// endpoint adds belong to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Its VPC.
    pub vpc: Input<VpcId>,
    /// The routes; the longest prefix wins, so their order has no meaning.
    pub routes: Vec<Route>,
    /// The associated subnets.
    pub subnets: Vec<Input<SubnetId>>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination addresses.
    pub destination: Ipv4Net,
    /// The target of the packets.
    pub via: RouteTarget,
}

/// The target of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteTarget {
    /// The internet, for instances with a public address.
    InternetGateway(Input<InternetGatewayId>),
    /// The internet, from the gateway's address.
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
