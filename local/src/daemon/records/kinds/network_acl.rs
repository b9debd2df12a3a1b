//! A network ACL in the local cloud: stateless rules for its subnets.

use landfall_network::NetworkAcl;
use landfall_provider::{Probe, Resource, Result};

use std::collections::BTreeSet;

use super::{each_free, invalid};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for NetworkAcl {
    const PREFIX: &'static str = "acl";
    type Status = ();

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        each_number_once(new.spec)?;
        let others = state
            .tables
            .network_acls
            .values()
            .flat_map(|other| &other.spec.subnets);
        each_free(
            state,
            &new.spec.vpc,
            &new.spec.subnets,
            others,
            "a network ACL",
        )
    }

    fn amend(state: &State, old: &Entry<Self>, new: &Draft<'_, Self>) -> Result<()> {
        each_number_once(new.spec)?;
        let others = state
            .tables
            .network_acls
            .values()
            .filter(|other| other.name != old.name || other.stack != old.stack);
        each_free(
            state,
            &new.spec.vpc,
            &new.spec.subnets,
            others.flat_map(|other| &other.spec.subnets),
            "a network ACL",
        )
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}

fn each_number_once(acl: &NetworkAcl) -> Result<()> {
    let mut seen = BTreeSet::new();
    for entry in &acl.entries {
        if !(1..=32766).contains(&entry.number) || !seen.insert((entry.direction, entry.number)) {
            return Err(invalid(format_args!(
                "entry {}: numbers are from 1 to 32766, each once per direction",
                entry.number
            )));
        }
    }
    Ok(())
}
