//! The records of the cloud: one table per kind, and what every kind has in common.

use std::collections::BTreeMap;
use std::fmt::Debug;

use landfall_provider::{Error, ErrorKind, Live, Probe, Resource, ResourceName, Result, StackName};

use super::state::{State, Tabled};
use crate::wire::Extras;

/// A kind of resource that this cloud holds.
///
/// What is common to all kinds (ids, names, references that must exist, who may go while who still
/// refers to it) stands in [`State`]; a kind says what is its own.
pub(crate) trait LocalResource: Resource {
    /// What its ids begin with.
    const PREFIX: &'static str;
    /// What the cloud decides about it: addresses, versions.
    type Status: Clone + Debug + Send;

    /// Checks a new one against what is there, and decides its facts.
    fn validate_create(state: &State, new: &Draft<'_, Self>) -> Result<Self::Status>;

    /// Checks a change in place, and decides the facts anew.
    fn amend(state: &State, old: &Entry<Self>, new: &Draft<'_, Self>) -> Result<Self::Status> {
        let _ = (state, new);
        Ok(old.facts.clone())
    }

    /// Whether it may be ended, where more decides about that than who refers to it.
    fn check_deletable(id: &Self::Id, entry: &Entry<Self>) -> Result<()> {
        let _ = (id, entry);
        Ok(())
    }

    /// How it is.
    fn probe(state: &State, id: &Self::Id, entry: &Entry<Self>) -> Probe<Self::Output>;

    /// The id that follows from the spec, for a kind whose ids are not drawn.
    fn id(spec: &Self) -> Option<Self::Id> {
        let _ = spec;
        None
    }

    /// Whether its record may go as soon as its end is asked for. One that has something running
    /// stays, ending, until that is done.
    const ENDS_AT_ONCE: bool = true;
}

/// Something that is about to be made or changed.
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
    /// Its end was asked for.
    pub(crate) ending: bool,
}

/// The records of one kind.
pub(crate) type Table<R> = BTreeMap<<R as Resource>::Id, Entry<R>>;

/// The record under an id, or the error that AWS users know.
pub(crate) fn find<'a, R: Tabled>(state: &'a State, id: &R::Id) -> Result<&'a Entry<R>> {
    R::table(state).get(id).ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format_args!("the {} `{id}` does not exist", R::KIND),
        )
    })
}

/// The records of a stack, as a client sees them.
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

/// How a resource is.
pub(crate) fn probe<R: Tabled>(state: &State, id: &R::Id) -> Probe<R::Output> {
    match R::table(state).get(id) {
        None => Probe::Absent,
        Some(entry) if entry.ending => Probe::Ending("asked to".to_owned()),
        Some(entry) => R::probe(state, id, entry),
    }
}
