//! A subnet in the local cloud: its interfaces share a route table and a network ACL.

use landfall_network::Subnet;
use landfall_provider::{Probe, Resource, Result};

use landfall_network::Vpc;

use super::{conflict, invalid, known};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource, find};

impl LocalResource for Subnet {
    const PREFIX: &'static str = "subnet";
    type Status = ();

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        let vpc = known(&new.spec.vpc)?;
        let (cidr, whole) = (new.spec.cidr, find::<Vpc>(state, vpc)?.spec.cidr);
        if cidr.trunc() != cidr {
            return Err(invalid(format_args!(
                "{cidr} has host bits set; the network is {}",
                cidr.trunc()
            )));
        }
        if !whole.contains(&cidr) || cidr.prefix_len() > 28 {
            return Err(invalid(format_args!(
                "{cidr} is not a block of {whole} with 16 (/28) addresses or more"
            )));
        }
        for (id, other) in &state.tables.subnets {
            let overlaps = other.spec.cidr.contains(&cidr) || cidr.contains(&other.spec.cidr);
            if other.spec.vpc == new.spec.vpc && overlaps {
                return Err(conflict(format_args!(
                    "{cidr} overlaps {id} ({})",
                    other.spec.cidr
                )));
            }
        }
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
