//! A scaling policy, which the local cloud does not have yet: it refuses instead of pretending.

use landfall_compute::ScalingPolicy;
use landfall_provider::{Probe, Resource, Result};

use landfall_provider::{Error, ErrorKind};

use crate::cloud::state::State;
use crate::cloud::table::{Draft, Entry, Hosted};

impl Hosted for ScalingPolicy {
    const PREFIX: &'static str = "policy";
    type Facts = ();

    fn admit(_: &State, _: &Draft<'_, Self>) -> Result<()> {
        Err(refused())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}

/// Why there is none.
pub(crate) fn refused() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "the local provider does not scale by metrics yet",
    )
    .hint("remove `cpu` and `requests` from the service's `scale`, and set `desired`")
}
