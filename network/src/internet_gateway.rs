//! An internet gateway: connects public addresses with the VPC.

use std::time::Duration;

use landfall_provider::{Input, InternetGatewayId, Kind, Reference, Resource, VpcId, kind};
use serde::{Deserialize, Serialize};

use crate::FREED_WITHIN;

/// An internet gateway, attached to a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetGateway {
    /// The VPC that it is attached to.
    pub vpc: Input<VpcId>,
}

impl Resource for InternetGateway {
    const KIND: Kind = kind::INTERNET_GATEWAY;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["vpc"];
    const DELETE_TIMEOUT: Duration = FREED_WITHIN;
    type Id = InternetGatewayId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        vec![&mut self.vpc]
    }
}
