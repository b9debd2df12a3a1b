//! A NAT gateway: how what has no public address reaches the internet.

use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_provider::{
    AllocationId, Claim, Input, Kind, NatGatewayId, Reference, Resource, SubnetId, kind,
};
use serde::{Deserialize, Serialize};

/// A public NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// The public subnet that it stands in.
    pub subnet: Input<SubnetId>,
    /// The Elastic IP that the internet sees.
    pub address: Input<AllocationId>,
}

/// What is known of a NAT gateway once it is available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayOutput {
    /// The address that the internet sees.
    pub public_address: Ipv4Addr,
}

impl Resource for NatGateway {
    const KIND: Kind = kind::NAT_GATEWAY;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["subnet", "address"];
    const AFTER: &'static [Kind] = &[kind::INTERNET_GATEWAY];
    const CREATE_TIMEOUT: Duration = Duration::from_secs(600);
    const TYPICAL_CREATE_TIME: Duration = Duration::from_secs(85);
    type Id = NatGatewayId;
    type Output = NatGatewayOutput;

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::whole(&self.address)]
    }

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.subnet, &mut self.address]
    }
}
