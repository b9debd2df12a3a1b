//! A NAT gateway: internet access for instances without a public address.

use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_provider::{
    AllocationId, Claim, Input, Kind, NatGatewayId, Reference, Resource, SubnetId, kind,
};
use serde::{Deserialize, Serialize};

/// A public NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// The public subnet of the gateway.
    pub subnet: Input<SubnetId>,
    /// The Elastic IP of the gateway: its address on the internet.
    pub address: Input<AllocationId>,
}

/// The output of a NAT gateway, known once it is available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGatewayOutput {
    /// Its address on the internet.
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

/// The way from private subnets to the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatMode {
    /// A NAT gateway in every zone: a failed zone does not affect the others.
    PerZone,
    /// One NAT gateway, in the first zone, for all zones: cheaper, and lost with that zone.
    Single,
    /// No access to the internet.
    None,
}
