//! A VPC: the private network of all other resources.

use std::time::Duration;

use ipnet::Ipv4Net;
use landfall_provider::{Kind, Reference, Resource, VpcId, kind};
use serde::{Deserialize, Serialize};

use crate::FREED_WITHIN;

/// A virtual private cloud. DNS resolution and host names are on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its addresses: a block between /16 and /28.
    ///
    /// <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html>
    pub cidr: Ipv4Net,
}

impl Resource for Vpc {
    const KIND: Kind = kind::VPC;
    const FORCES_REPLACEMENT: &'static [&'static str] = &["cidr"];
    const DELETE_TIMEOUT: Duration = FREED_WITHIN;
    type Id = VpcId;
    type Output = ();

    fn references(&mut self) -> Vec<&mut dyn Reference> {
        Vec::new()
    }
}
