//! An instance profile in the local cloud: only a record, because there are no permissions here.

use landfall_compute::InstanceProfile;
use landfall_provider::{Probe, Result};

use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for InstanceProfile {
    const PREFIX: &'static str = "profile";
    type Status = ();

    fn validate_create(_: &State, _: &Draft<'_, Self>) -> Result<()> {
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<()> {
        Probe::Usable(())
    }
}
