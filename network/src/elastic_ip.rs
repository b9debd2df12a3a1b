//! An Elastic IP: a static public address.

use std::net::Ipv4Addr;
use std::time::Duration;

use landfall_provider::{AllocationId, DataLoss, Kind, Reference, Resource, kind};
use serde::{Deserialize, Serialize};

use crate::FREED_WITHIN;

/// An Elastic IP, for a NAT gateway or an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticIp {}

/// The output of an Elastic IP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElasticIpOutput {
    /// The public address.
    pub address: Ipv4Addr,
}

impl Resource for ElasticIp {
    const KIND: Kind = kind::ELASTIC_IP;
    const DATA_LOSS: DataLoss = DataLoss::Output {
        field: "address",
        called: "address",
    };
    const DELETE_TIMEOUT: Duration = FREED_WITHIN;
    type Id = AllocationId;
    type Output = ElasticIpOutput;

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        Vec::new()
    }
}
