//! A security group in the local cloud: a set of interfaces.

use landfall_network::SecurityGroup;
use landfall_provider::{Probe, Resource, Result};

use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for SecurityGroup {
    const PREFIX: &'static str = "sg";
    type Status = ();

    fn validate_create(_: &State, _: &Draft<'_, Self>) -> Result<()> {
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
