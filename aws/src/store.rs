//! The contents of the session's cache. The module `memory` reads and writes them.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use landfall_provider::{Key, Kind, ResourceName, StackName};

/// The session's cache.
#[derive(Default)]
pub(crate) struct Memory {
    /// By kind, the names in a listing, and the names of later create attempts.
    pub(crate) names: BTreeMap<(StackName, Kind), (Instant, BTreeSet<ResourceName>)>,
    /// By kind and id, the state in the answer to the create or delete call.
    pub(crate) states: BTreeMap<(Kind, String), (Instant, Box<dyn Any + Send + Sync>)>,
    /// The tokens of creates without an answer yet.
    pub(crate) tokens: BTreeMap<(StackName, Key), String>,
    /// Further values of answers, by their type and their owner.
    pub(crate) notes: BTreeMap<(TypeId, String), (Instant, Box<dyn Any + Send + Sync>)>,
    /// The ids of resources that a create has started and not finished.
    pub(crate) begun: BTreeMap<(StackName, Key), String>,
}
