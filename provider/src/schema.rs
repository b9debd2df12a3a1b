//! The planner's metadata of each kind, behind one type: pure functions over JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::claim::Claim;
use crate::name::{Key, Kind};
use crate::resource::{Change, DataLoss, Gate, Resource, Retention};

/// A reference in a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedRef {
    /// To another resource of the stack, whose id is not known yet.
    Key(Key),
    /// To the id of a resource of this kind.
    Id(Kind, String),
}

/// The metadata of a spec.
#[derive(Debug, Clone)]
pub(crate) struct SpecMetadata {
    /// Its references.
    pub(crate) resolved_refs: Vec<ResolvedRef>,
    /// Its exclusive claims.
    pub(crate) claims: Vec<Claim>,
}

/// Looks up the id of a resource of the stack, if known.
type Ids<'a> = dyn Fn(&Key) -> Option<String> + 'a;

/// A spec whose references to known ids are replaced, and its claims.
type Resolved = (Value, Vec<Claim>);

/// The metadata of a kind, available without a provider.
#[derive(Debug, Clone, Copy)]
pub struct KindMetadata {
    /// The gate for its dependents.
    pub gate: Gate,
    /// Whether it is deleted with its stack.
    pub retention: Retention,
    /// The data lost with its deletion, unless its spec overrides it.
    pub loss: DataLoss,
    /// Kinds that are created before it.
    pub after: &'static [Kind],
    /// The time limit until it is usable.
    pub deadline: Duration,
    /// The time limit until it is gone.
    pub delete_timeout: Duration,
    /// The least time that it typically takes to become usable.
    pub typical_create_time: Duration,
    /// The fields that cannot be updated in place.
    pub forces_replacement: &'static [&'static str],
    change: fn(&Value, &Value) -> serde_json::Result<Change>,
    read: fn(&Value) -> serde_json::Result<SpecMetadata>,
    loss_of: fn(&Value) -> serde_json::Result<DataLoss>,
    resolve: fn(&Value, &Ids<'_>) -> serde_json::Result<Resolved>,
}

impl KindMetadata {
    fn of<R: Resource>() -> Self {
        Self {
            gate: R::GATE,
            retention: R::RETENTION,
            loss: R::DATA_LOSS,
            after: R::AFTER,
            deadline: R::CREATE_TIMEOUT,
            delete_timeout: R::DELETE_TIMEOUT,
            typical_create_time: R::TYPICAL_CREATE_TIME,
            forces_replacement: R::FORCES_REPLACEMENT,
            change: |current, desired| Ok(R::change(&spec(current)?, &spec(desired)?)),
            loss_of: |value| Ok(spec::<R>(value)?.loss()),
            read: |value| {
                let mut spec: R = spec(value)?;
                let claims = spec.claims();
                let resolved_refs = spec
                    .references()
                    .into_iter()
                    .filter_map(|reference| match (reference.target(), reference.id()) {
                        (Some(key), _) => Some(ResolvedRef::Key(key.clone())),
                        (None, Some(id)) => Some(ResolvedRef::Id(reference.kind(), id.to_owned())),
                        (None, None) => None,
                    })
                    .collect();
                Ok(SpecMetadata {
                    resolved_refs,
                    claims,
                })
            },
            resolve: |value, ids| {
                let mut spec: R = spec(value)?;
                for reference in spec.references() {
                    if let Some(id) = reference.target().and_then(ids) {
                        reference.resolve(&id);
                    }
                }
                Ok((serde_json::to_value(&spec)?, spec.claims()))
            },
        }
    }

    /// The change from one spec to the other.
    ///
    /// # Errors
    /// When either is not a spec of this kind.
    pub fn change(&self, current: &Value, desired: &Value) -> serde_json::Result<Change> {
        (self.change)(current, desired)
    }

    /// The metadata of the spec.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub(crate) fn read(&self, spec: &Value) -> serde_json::Result<SpecMetadata> {
        (self.read)(spec)
    }

    /// The data lost with the deletion of a resource of this spec.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub fn loss_of(&self, spec: &Value) -> serde_json::Result<DataLoss> {
        (self.loss_of)(spec)
    }

    /// The references of the spec.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub fn resolved_refs(&self, spec: &Value) -> serde_json::Result<Vec<ResolvedRef>> {
        Ok(self.read(spec)?.resolved_refs)
    }

    /// The spec with every reference replaced whose id is known to `ids`.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub fn resolve(&self, spec: &Value, ids: &Ids<'_>) -> serde_json::Result<Value> {
        Ok(self.resolved(spec, ids)?.0)
    }

    /// The same, and the claims of that spec.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub(crate) fn resolved(
        &self,
        spec: &Value,
        ids: &Ids<'_>,
    ) -> serde_json::Result<(Value, Vec<Claim>)> {
        (self.resolve)(spec, ids)
    }
}

fn spec<R: Resource>(value: &Value) -> serde_json::Result<R> {
    R::deserialize(value)
}

/// The metadata of every kind that may occur.
#[derive(Debug, Clone, Default)]
pub struct Schema(BTreeMap<Kind, KindMetadata>);

impl Schema {
    /// An empty schema.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind.
    #[must_use]
    pub fn with<R: Resource>(mut self) -> Self {
        self.0.insert(R::KIND, KindMetadata::of::<R>());
        self
    }

    /// Every kind and its metadata, in the order of names.
    pub fn kinds(&self) -> impl Iterator<Item = (&Kind, &KindMetadata)> {
        self.0.iter()
    }

    /// The metadata of a kind.
    pub fn get(&self, kind: &Kind) -> Option<&KindMetadata> {
        self.0.get(kind)
    }
}
