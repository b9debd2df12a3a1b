//! A key pair in the local cloud: a record that instances refer to.

use landfall_compute::KeyPair;
use landfall_provider::{Probe, Result};

use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for KeyPair {
    const PREFIX: &'static str = "key";
    type Status = ();

    fn validate_create(_: &State, _: &Draft<'_, Self>) -> Result<()> {
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<()> {
        Probe::Usable(())
    }
}
