//! A repository in the local cloud: the owner of images in the client's store, while the stack exists.

use landfall_container::Repository;
use landfall_provider::{Probe, RepositoryId, Result};

use super::{conflict, invalid};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Draft, Entry, LocalResource};

impl LocalResource for Repository {
    const PREFIX: &'static str = "repository";
    type Status = ();

    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<()> {
        let name = &new.spec.name;
        if state
            .tables
            .repositories
            .contains_key(&RepositoryId::from(name.as_str()))
        {
            return Err(conflict(format_args!("there is a repository `{name}`")));
        }
        if new.spec.keep == 0 {
            return Err(invalid("a repository keeps at least one image"));
        }
        Ok(())
    }

    fn probe(_: &State, _: &Self::Id, _: &Entry<Self>) -> Probe<()> {
        Probe::Usable(())
    }

    fn id(spec: &Self) -> Option<RepositoryId> {
        Some(RepositoryId::from(spec.name.as_str()))
    }
}
