//! A subnet: a part of the VPC's addresses in one zone.

use std::time::Duration;

use ipnet::Ipv4Net;
use landfall_provider::{Claim, Input, Kind, Reference, Resource, SubnetId, VpcId, Zone, kind};
use serde::{Deserialize, Serialize};

use crate::FREED_WITHIN;

/// A subnet. Its route table makes it public or private.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its VPC.
    pub vpc: Input<VpcId>,
    /// Its zone.
    pub zone: Zone,
    /// Its addresses, inside those of the VPC. AWS reserves the first four and the last.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
    pub cidr: Ipv4Net,
}

impl Resource for Subnet {
    const KIND: Kind = kind::SUBNET;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc", "zone", "cidr"];
    const DELETE_TIMEOUT: Duration = FREED_WITHIN;
    type Id = SubnetId;
    type Output = ();

    fn claims(&self) -> Vec<Claim> {
        let (first, last) = (self.cidr.network(), self.cidr.broadcast());
        let claim = Claim::range(&self.vpc, first.to_bits().into(), last.to_bits().into());
        vec![claim]
    }

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.vpc]
    }
}
