//! A rule of a listener in the local cloud.

use landfall_lb::ListenerRule;
use landfall_provider::{Probe, Resource, Result};

use super::conflict;
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for ListenerRule {
    const PREFIX: &'static str = "rule";
    type Status = ();

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        let mut others = state.tables.listener_rules.values();
        if others.any(|other| {
            other.spec.listener == new.spec.listener && other.spec.priority == new.spec.priority
        }) {
            return Err(conflict(format_args!(
                "the listener has a rule of priority {} already",
                new.spec.priority
            )));
        }
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
