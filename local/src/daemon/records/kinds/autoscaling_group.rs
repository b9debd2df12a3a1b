//! An autoscaling group in the local cloud. Its actions are decided in [`group`].

use landfall_compute::{AutoscalingGroup, AutoscalingGroupOutput, Scaling};
use landfall_provider::{Probe, Result};

use super::{invalid, known, vpc_of};
use crate::daemon::records::group;
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

/// The assigned values of a group.
#[derive(Debug, Clone)]
pub(crate) struct GroupStatus {
    /// The desired capacity now: that of the spec, or of the last scaling.
    pub(crate) capacity: u32,
    /// The last change by scaling.
    pub(crate) scaled: Option<Scaling>,
}

impl LocalResource for AutoscalingGroup {
    const PREFIX: &'static str = "asg";
    type Status = GroupStatus;
    const ENDS_AT_ONCE: bool = false;

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<GroupStatus> {
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
        Ok(GroupStatus {
            capacity: spec.desired,
            scaled: None,
        })
    }

    /// An update keeps the capacity that scaling has set, within the limits, unless the spec's own number changes.
    fn amend(state: &State, old: &Entry<Self>, new: &Draft<'_, Self>) -> Result<GroupStatus> {
        let fresh = Self::validate_create(state, new)?;
        if old.spec.desired != new.spec.desired {
            return Ok(fresh);
        }
        Ok(GroupStatus {
            capacity: old.facts.capacity.clamp(new.spec.min, new.spec.max),
            ..old.facts.clone()
        })
    }

    fn probe(state: &State, id: &Self::Id, _: &Entry<Self>) -> Probe<AutoscalingGroupOutput> {
        group::progress(state, id)
    }
}
