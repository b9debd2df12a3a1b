//! A route table in the local cloud: policy routing by the source interface of a packet.

use landfall_network::RouteTable;
use landfall_provider::{Probe, Resource, Result};

use super::each_free;
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for RouteTable {
    const PREFIX: &'static str = "rtb";
    type Status = ();

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        let others = state
            .tables
            .route_tables
            .values()
            .flat_map(|other| &other.spec.subnets);
        each_free(
            state,
            &new.spec.vpc,
            &new.spec.subnets,
            others,
            "a route table",
        )
    }

    fn amend(state: &State, old: &Entry<Self>, new: &Draft<'_, Self>) -> Result<()> {
        let others = state
            .tables
            .route_tables
            .values()
            .filter(|other| other.name != old.name || other.stack != old.stack);
        each_free(
            state,
            &new.spec.vpc,
            &new.spec.subnets,
            others.flat_map(|other| &other.spec.subnets),
            "a route table",
        )
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
