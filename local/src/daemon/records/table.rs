//! The common parts of all kinds: the table, the record, and the trait of a kind.

use std::collections::BTreeMap;
use std::fmt::Debug;

use landfall_provider::{Error, ErrorKind, Live, Probe, Resource, ResourceName, Result, StackName};

use super::state::{State, Tabled};
use crate::wire::Extras;

/// A kind of resource of the local cloud.
///
/// [`State`] implements the rules for all kinds (ids, names, existing references, no deletion of
/// resources in use); a kind adds its own.
pub(crate) trait LocalResource: Resource {
    /// The prefix of its ids.
    const PREFIX: &'static str;
    /// The values that the cloud assigns: addresses, versions.
    type Status: Clone + Debug + Send;

    /// Checks a new resource against the current records, and assigns its values.
    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<Self::Status>;

    /// Checks an update in place, and assigns the values again.
    fn amend(state: &State, old: &Entry<Self>, new: &Draft<'_, Self>) -> Result<Self::Status> {
        let _ = (state, new);
        Ok(old.facts.clone())
    }

    /// Checks whether it may be deleted, beyond the check for resources that refer to it.
    fn check_deletable(id: &Self::Id, entry: &Entry<Self>) -> Result<()> {
        let _ = (id, entry);
        Ok(())
    }

    /// Its state.
    fn probe(state: &State, id: &Self::Id, entry: &Entry<Self>) -> Probe<Self::Output>;

    /// The id that the spec determines, for kinds without generated ids.
    fn id(spec: &Self) -> Option<Self::Id> {
        let _ = spec;
        None
    }

    /// Whether a delete call removes its record at once. Otherwise the record stays, marked as
    /// ending, until its controller has stopped what runs.
    const ENDS_AT_ONCE: bool = true;
}

/// The input of a create or update call.
pub(crate) struct Draft<'a, R> {
    pub(crate) spec: &'a R,
    pub(crate) extras: &'a Extras,
}

/// A record.
#[derive(Debug, Clone)]
pub(crate) struct Entry<R: LocalResource> {
    pub(crate) stack: StackName,
    pub(crate) name: ResourceName,
    pub(crate) spec: R,
    pub(crate) facts: R::Status,
    /// Whether its deletion has started.
    pub(crate) ending: bool,
}

/// The records of one kind.
pub(crate) type Table<R> = BTreeMap<<R as Resource>::Id, Entry<R>>;

/// The record with an id, or the error that AWS users know.
pub(crate) fn find<'a, R: Tabled>(state: &'a State, id: &R::Id) -> Result<&'a Entry<R>> {
    R::table(state).get(id).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", R::KIND),
        )
    })
}

/// The records of a stack, for clients.
pub(crate) fn list<R: Tabled>(state: &State, stack: &StackName) -> Vec<Live<R>> {
    R::table(state)
        .iter()
        .filter(|(_, entry)| &entry.stack == stack)
        .map(|(id, entry)| Live {
            id: id.clone(),
            name: entry.name.clone(),
            spec: entry.spec.clone(),
            state: probe::<R>(state, id),
        })
        .collect()
}

/// The state of a resource.
pub(crate) fn probe<R: Tabled>(state: &State, id: &R::Id) -> Probe<R::Output> {
    match R::table(state).get(id) {
        None => Probe::Absent,
        Some(entry) if entry.ending => Probe::Ending("asked to".to_owned()),
        Some(entry) => R::probe(state, id, entry),
    }
}
