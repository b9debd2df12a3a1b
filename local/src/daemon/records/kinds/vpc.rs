//! A VPC in the local cloud: it has its own router namespace, so that VPCs may use the same addresses.

use landfall_network::Vpc;
use landfall_provider::{Probe, Resource, Result};

use super::invalid;
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for Vpc {
    const PREFIX: &'static str = "vpc";
    type Status = ();

    fn validate_create(_: &State, new: &Draft<'_, Self>) -> Result<()> {
        let cidr = new.spec.cidr;
        if cidr.trunc() != cidr {
            return Err(invalid(format_args!(
                "{cidr} has host bits set; the network is {}",
                cidr.trunc()
            )));
        }
        if !(16..=28).contains(&cidr.prefix_len()) {
            return Err(invalid(format_args!(
                "{cidr}: a VPC has between 65,536 (/16) and 16 (/28) addresses"
            )));
        }
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<<Self as Resource>::Output> {
        Probe::Usable(())
    }
}
