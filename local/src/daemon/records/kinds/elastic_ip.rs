//! An Elastic IP in the local cloud: one of the simulated public addresses.

use std::net::Ipv4Addr;

use landfall_network::{ElasticIp, ElasticIpOutput};
use landfall_provider::{Probe, Result};

use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

/// The assigned values of an Elastic IP.
#[derive(Debug, Clone)]
pub(crate) struct ElasticIpStatus {
    pub(crate) address: Ipv4Addr,
}

impl LocalResource for ElasticIp {
    const PREFIX: &'static str = "eipalloc";
    type Status = ElasticIpStatus;

    fn validate_create(state: &State, _: &Draft<'_, Self>) -> Result<ElasticIpStatus> {
        Ok(ElasticIpStatus {
            address: state.new_public_address(&state.public_taken())?,
        })
    }

    fn probe(_: &State, _: &Self::Id, entry: &Entry<Self>) -> Probe<ElasticIpOutput> {
        Probe::Usable(ElasticIpOutput {
            address: entry.facts.address,
        })
    }
}
