//! A target group in the local cloud: the load balancers that forward to it check its targets.

use landfall_lb::TargetGroup;
use landfall_provider::{Probe, Resource, Result};

use super::invalid;
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};
use landfall_balancer::Matcher;

impl LocalResource for TargetGroup {
    const PREFIX: &'static str = "tg";
    type Status = ();

    fn validate_create(_: &State, new: &Draft<'_, Self>) -> Result<()> {
        Matcher::parse(&new.spec.health_check.matcher)
            .map(|_| ())
            .map_err(invalid)
    }

    fn amend(_: &State, _: &Entry<Self>, new: &Draft<'_, Self>) -> Result<()> {
        Matcher::parse(&new.spec.health_check.matcher)
            .map(|_| ())
            .map_err(invalid)
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
