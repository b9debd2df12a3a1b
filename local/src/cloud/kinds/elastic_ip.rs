//! An Elastic IP in the local cloud: one of the addresses that stand for public ones.

use std::net::Ipv4Addr;

use landfall_network::{ElasticIp, ElasticIpOutput};
use landfall_provider::{Probe, Result};

use crate::cloud::state::State;
use crate::cloud::table::{Draft, Entry, Hosted};

/// What the cloud decides about an Elastic IP.
#[derive(Debug, Clone)]
pub(crate) struct ElasticIpFacts {
    pub(crate) address: Ipv4Addr,
}

impl Hosted for ElasticIp {
    const PREFIX: &'static str = "eipalloc";
    type Facts = ElasticIpFacts;

    fn admit(state: &State, _: &Draft<'_, Self>) -> Result<ElasticIpFacts> {
        Ok(ElasticIpFacts {
            address: state.new_public_address(&state.public_taken())?,
        })
    }

    fn probe(_: &State, _: &Self::Id, entry: &Entry<Self>) -> Probe<ElasticIpOutput> {
        Probe::Usable(ElasticIpOutput {
            address: entry.facts.address,
        })
    }
}
