//! What a provider holds for a stack, kinds and types erased.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{Key, Kind};
use crate::provider::Probe;

/// A resource that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Kind and name.
    pub key: Key,
    /// The provider's id.
    pub id: String,
    /// What it is, as the spec's JSON.
    pub spec: Value,
    /// How it is.
    pub state: Probe<Value>,
}

/// Everything that a stack holds at one moment, in the order of keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    found: Vec<Found>,
}

impl Snapshot {
    /// Puts what was found in order. What is absent is left out.
    pub fn new(mut found: Vec<Found>) -> Self {
        found.retain(|one| one.state != Probe::Absent);
        found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        Self { found }
    }

    /// All of it.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// Everything of one kind.
    pub fn of_kind(&self, kind: &Kind) -> impl Iterator<Item = &Found> {
        self.found
            .iter()
            .filter(move |found| &found.key.kind == kind)
    }

    /// The one with this key; the first by id if an interrupted run left several.
    pub fn get(&self, key: &Key) -> Option<&Found> {
        let at = self.found.partition_point(|found| &found.key < key);
        self.found.get(at).filter(|found| &found.key == key)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}
