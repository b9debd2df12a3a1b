//! A scaling policy, which the local cloud does not have yet: it refuses instead of pretending.

use landfall_compute::ScalingPolicy;
use landfall_provider::{Probe, Resource, Result};

use crate::cloud::state::State;
use crate::cloud::table::{Draft, Entry, Hosted};
use crate::limits;

impl Hosted for ScalingPolicy {
    const PREFIX: &'static str = "policy";
    type Facts = ();

    fn admit(_: &State, _: &Draft<'_, Self>) -> Result<()> {
        Err(limits::scaling())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
