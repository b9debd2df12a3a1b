//! The rules of a security group in the local cloud: stateful, one chain per group.

use landfall_network::SecurityGroupRules;
use landfall_provider::{Probe, Resource, Result};

use super::{conflict, known};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for SecurityGroupRules {
    const PREFIX: &'static str = "sgr";
    type Status = ();

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        if state
            .tables
            .security_group_rules
            .values()
            .any(|other| other.spec.group == new.spec.group)
        {
            return Err(conflict(format_args!(
                "{} has its rules already",
                known(&new.spec.group)?
            )));
        }
        Ok(())
    }

    /// The rules have the id of their group.
    fn id(spec: &Self) -> Option<Self::Id> {
        let group = spec.group.known()?;
        Some(Self::Id::from(format!("{group}/rules")))
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
