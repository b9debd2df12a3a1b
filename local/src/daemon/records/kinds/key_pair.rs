//! A key pair in the local cloud: a record that instances refer to.

use landfall_compute::KeyPair;
use landfall_provider::{Error, ErrorKind, Probe, Result};

use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};
use crate::ssh;

impl LocalResource for KeyPair {
    const PREFIX: &'static str = "key";
    type Status = ();

    fn validate_create(_: &State, _: &Draft<'_, Self>) -> Result<()> {
        if ssh::AVAILABLE {
            return Ok(());
        }
        // Only SSH servers need key pairs. The process may be older than the program that calls it.
        let without = "the local cloud was started by a program without SSH servers";
        Err(Error::new(ErrorKind::Invalid, without)
            .hint("destroy its other stacks, which ends it, and deploy again"))
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<()> {
        Probe::Usable(())
    }
}
