//! What the planner has to know of each kind, behind one type: pure functions over JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::claim::Claim;
use crate::name::{Key, Kind};
use crate::resource::{Change, DataLoss, Gate, Resource, Retention};

/// A reference that a spec holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedRef {
    /// Of another resource of the stack, whose id is not known yet.
    Key(Key),
    /// Of the id of something of this kind.
    Id(Kind, String),
}

/// What a spec tells beside its fields.
#[derive(Debug, Clone)]
pub(crate) struct SpecMetadata {
    /// What it refers to.
    pub(crate) resolved_refs: Vec<ResolvedRef>,
    /// What one of this spec has for itself.
    pub(crate) claims: Vec<Claim>,
}

/// The id of a resource of the stack, as far as it is known.
type Ids<'a> = dyn Fn(&Key) -> Option<String> + 'a;

/// A spec without references to what has an id, and what it has for itself.
type Resolved = (Value, Vec<Claim>);

/// What there is to know of a kind without asking any provider.
#[derive(Debug, Clone, Copy)]
pub struct KindMetadata {
    /// When dependents may start.
    pub gate: Gate,
    /// Whether it ends with its stack.
    pub retention: Retention,
    /// What goes for good with one of it, unless its spec says otherwise.
    pub loss: DataLoss,
    /// Kinds that come before it.
    pub after: &'static [Kind],
    /// How long it may take to become usable.
    pub deadline: Duration,
    /// How long it may take to disappear.
    pub delete_timeout: Duration,
    /// How long it usually takes at the least to become usable.
    pub typical_create_time: Duration,
    /// The fields whose change cannot be made in place.
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

    /// What it takes to get from one spec to the other.
    ///
    /// # Errors
    /// When either is not a spec of this kind.
    pub fn change(&self, current: &Value, desired: &Value) -> serde_json::Result<Change> {
        (self.change)(current, desired)
    }

    /// What the spec tells beside its fields.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub(crate) fn read(&self, spec: &Value) -> serde_json::Result<SpecMetadata> {
        (self.read)(spec)
    }

    /// What goes for good with one of this spec.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub fn loss_of(&self, spec: &Value) -> serde_json::Result<DataLoss> {
        (self.loss_of)(spec)
    }

    /// What the spec refers to.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub fn resolved_refs(&self, spec: &Value) -> serde_json::Result<Vec<ResolvedRef>> {
        Ok(self.read(spec)?.resolved_refs)
    }

    /// The spec with every reference replaced for which `ids` has an id.
    ///
    /// # Errors
    /// When it is not a spec of this kind.
    pub fn resolve(&self, spec: &Value, ids: &Ids<'_>) -> serde_json::Result<Value> {
        Ok(self.resolved(spec, ids)?.0)
    }

    /// The same, and what one of that spec has for itself.
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

/// The facts of every kind that may occur.
#[derive(Debug, Clone, Default)]
pub struct Schema(BTreeMap<Kind, KindMetadata>);

impl Schema {
    /// No kind at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one kind more.
    #[must_use]
    pub fn with<R: Resource>(mut self) -> Self {
        self.0.insert(R::KIND, KindMetadata::of::<R>());
        self
    }

    /// Every kind and its facts, in the order of their names.
    pub fn kinds(&self) -> impl Iterator<Item = (&Kind, &KindMetadata)> {
        self.0.iter()
    }

    /// The facts of a kind.
    pub fn get(&self, kind: &Kind) -> Option<&KindMetadata> {
        self.0.get(kind)
    }
}
