//! A gateway endpoint in the local cloud: a route to the simulated addresses of the service.

use landfall_network::GatewayEndpoint;
use landfall_provider::{Probe, Resource, Result};

use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for GatewayEndpoint {
    const PREFIX: &'static str = "vpce";
    type Status = ();

    fn validate_create(_: &State, _: &Draft<'_, Self>) -> Result<()> {
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
