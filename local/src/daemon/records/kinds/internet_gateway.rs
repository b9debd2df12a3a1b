//! An internet gateway in the local cloud: 1:1 translation between public and private addresses.

use landfall_network::InternetGateway;
use landfall_provider::{Probe, Resource, Result};

use super::{conflict, known};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for InternetGateway {
    const PREFIX: &'static str = "igw";
    type Status = ();

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        if state
            .tables
            .internet_gateways
            .values()
            .any(|other| other.spec.vpc == new.spec.vpc)
        {
            return Err(conflict(format_args!(
                "{} has an internet gateway already",
                known(&new.spec.vpc)?
            )));
        }
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
