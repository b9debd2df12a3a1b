//! Snapshots: the live resources of a stack, kinds and types erased.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{Key, Kind};
use crate::provider::Probe;

/// A live resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Kind and name.
    pub key: Key,
    /// The provider's id.
    pub id: String,
    /// Its spec as JSON.
    pub spec: Value,
    /// Its state.
    pub state: Probe<Value>,
}

/// Every live resource of a stack at one moment, in the order of keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    found: Vec<Found>,
}

impl Snapshot {
    /// Sorts the resources. Absent ones are left out.
    pub fn new(mut found: Vec<Found>) -> Self {
        found.retain(|one| one.state != Probe::Absent);
        found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        Self { found }
    }

    /// All resources.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// All resources of one kind.
    pub fn of_kind(&self, kind: &Kind) -> impl Iterator<Item = &Found> {
        self.found
            .iter()
            .filter(move |found| &found.key.kind == kind)
    }

    /// The resource with this key; the first by id if an interrupted run left several.
    pub fn get(&self, key: &Key) -> Option<&Found> {
        let at = self.found.partition_point(|found| &found.key < key);
        self.found.get(at).filter(|found| &found.key == key)
    }

    /// Whether there are no resources.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}
