//! An autoscaling group in the local cloud; [`group`] keeps it at its size.

use landfall_compute::{AutoscalingGroup, AutoscalingGroupOutput};
use landfall_provider::{Probe, Result};

use super::{invalid, known, vpc_of};
use crate::cloud::group;
use crate::cloud::state::State;
use crate::cloud::table::{Draft, Entry, Hosted};

impl Hosted for AutoscalingGroup {
    const PREFIX: &'static str = "asg";
    type Facts = ();
    const ENDS_AT_ONCE: bool = false;

    fn admit(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        let spec = new.spec;
        if !(spec.min <= spec.desired && spec.desired <= spec.max) {
            return Err(invalid(format_args!(
                "min {} ≤ desired {} ≤ max {} does not hold",
                spec.min, spec.desired, spec.max
            )));
        }
        let mut vpcs = Vec::new();
        for subnet in &spec.subnets {
            vpcs.push(vpc_of(state, known(subnet)?)?);
        }
        vpcs.dedup();
        if vpcs.len() != 1 {
            return Err(invalid("its subnets are to be in one VPC, at least one"));
        }
        Ok(())
    }

    fn amend(state: &State, _: &Entry<Self>, new: &Draft<'_, Self>) -> Result<()> {
        Self::admit(state, new)
    }

    fn probe(state: &State, id: &Self::Id, _: &Entry<Self>) -> Probe<AutoscalingGroupOutput> {
        group::progress(state, id)
    }
}
