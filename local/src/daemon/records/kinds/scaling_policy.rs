//! A scaling policy in the local cloud; a controller applies it.

use landfall_compute::{Metric, ScalingPolicy};
use landfall_provider::{Probe, Resource, Result};

use super::invalid;
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for ScalingPolicy {
    const PREFIX: &'static str = "policy";
    type Status = ();

    fn validate_create(_: &State, new: &Draft<'_, Self>) -> Result<()> {
        match new.spec.metric {
            Metric::Cpu(1..=100) => Ok(()),
            Metric::Cpu(percent) => Err(invalid(format_args!(
                "{percent} % is no processor use: 1 to 100"
            ))),
            Metric::RequestsPerTarget { requests: 0, .. } => {
                Err(invalid("no requests at all are nothing to scale by"))
            }
            Metric::RequestsPerTarget { .. } => Ok(()),
        }
    }

    fn amend(state: &State, _: &Entry<Self>, new: &Draft<'_, Self>) -> Result<()> {
        Self::validate_create(state, new)
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
