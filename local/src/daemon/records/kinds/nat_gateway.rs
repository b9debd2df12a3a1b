//! A NAT gateway in the local cloud: a network namespace in its subnet that translates addresses.

use std::net::Ipv4Addr;

use landfall_network::{ElasticIp, InternetGateway, NatGateway, NatGatewayOutput};
use landfall_provider::{Probe, Result};

use super::{conflict, invalid, known, vpc_of};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource, find};

/// The assigned values of a NAT gateway.
#[derive(Debug, Clone)]
pub(crate) struct NatGatewayStatus {
    /// Its address in the subnet.
    pub(crate) private: Ipv4Addr,
    /// The address of its Elastic IP.
    pub(crate) public: Ipv4Addr,
}

impl LocalResource for NatGateway {
    const PREFIX: &'static str = "nat";
    type Status = NatGatewayStatus;

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<NatGatewayStatus> {
        let subnet = known(&new.spec.subnet)?;
        let vpc = vpc_of(state, subnet)?;
        let attached = |gateway: &Entry<InternetGateway>| gateway.spec.vpc.known() == Some(&vpc);
        if !state.tables.internet_gateways.values().any(attached) {
            return Err(invalid(format_args!("{vpc} has no internet gateway")));
        }
        if !state
            .referrers(known(&new.spec.address)?.as_ref())
            .is_empty()
        {
            return Err(conflict(format_args!(
                "{} is associated already",
                known(&new.spec.address)?
            )));
        }
        Ok(NatGatewayStatus {
            private: state.new_private_address(subnet)?,
            public: find::<ElasticIp>(state, known(&new.spec.address)?)?
                .facts
                .address,
        })
    }

    fn probe(_: &State, _: &Self::Id, entry: &Entry<Self>) -> Probe<NatGatewayOutput> {
        Probe::Usable(NatGatewayOutput {
            public_address: entry.facts.public,
        })
    }
}
