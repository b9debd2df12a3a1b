//! What a resource is: the wish of a user, comparable with what is there.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claim::Claim;
use crate::ids::ResourceId;
use crate::input::Reference;
use crate::name::Kind;

/// A kind of thing that a provider can hold. The struct is what the user wants; it has no id of its own.
pub trait Resource:
    Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The kind, by its term in the field.
    const KIND: Kind;
    /// When those that refer to it may start.
    const GATE: Gate = Gate::Usable;
    /// Top-level fields whose change cannot be made in place.
    const FORCES_REPLACEMENT: &'static [&'static str] = &[];
    /// Top-level fields that say how to make the resource and not what it is: never compared.
    const NOT_COMPARED: &'static [&'static str] = &[];
    /// Top-level fields that are lists without an order: compared as sets.
    const UNORDERED: &'static [&'static str] = &[];
    /// Kinds of the same stack that must be there first and go last, although no field names them.
    const AFTER: &'static [Kind] = &[];
    /// Whether it ends with its stack.
    const RETENTION: Retention = Retention::WithStack;
    /// What goes for good when it ends: what another one like it does not bring back.
    const DATA_LOSS: DataLoss = DataLoss::Nothing;
    /// How long it may take to become usable.
    const CREATE_TIMEOUT: Duration = Duration::from_secs(300);
    /// How long it may take to disappear.
    const DELETE_TIMEOUT: Duration = Self::CREATE_TIMEOUT;
    /// How long it usually takes at the least to become usable where that is long: from then on it is looked at
    /// often, so that those behind it need not wait for the next look.
    const TYPICAL_CREATE_TIME: Duration = Duration::ZERO;

    /// The id that a provider gives it.
    type Id: ResourceId;
    /// What is known once it is usable: addresses, a DNS name.
    type Output: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync;

    /// Every field that names another resource, in the order of declaration.
    fn references(&mut self) -> Vec<&mut dyn Reference>;

    /// What no other can have while it has it: one that is to have it too is made when this one is gone.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// What goes for good with this one, where not all of a kind are alike.
    fn loss(&self) -> DataLoss {
        Self::DATA_LOSS
    }

    /// Whether it takes a new one although every field that differs could be changed in place: what only several
    /// fields together tell.
    fn requires_replacement(_have: &Self, _want: &Self) -> bool {
        false
    }

    /// What it takes to get from `have` to `want`.
    ///
    /// Compares field by field; [`FORCES_REPLACEMENT`](Self::FORCES_REPLACEMENT),
    /// [`requires_replacement`](Self::requires_replacement) and [`NOT_COMPARED`](Self::NOT_COMPARED) say what a difference means.
    fn change(current: &Self, desired: &Self) -> Change {
        let fields = differences::<Self>(current, desired);
        if fields.is_empty() {
            Change::Keep
        } else if fields
            .iter()
            .any(|field| Self::FORCES_REPLACEMENT.contains(&field.field.as_str()))
            || Self::requires_replacement(current, desired)
        {
            Change::Replace(fields)
        } else {
            Change::Update(fields)
        }
    }
}

fn differences<R: Resource>(current: &R, desired: &R) -> Vec<FieldChange> {
    let (Ok(Value::Object(mut current)), Ok(Value::Object(desired))) =
        (serde_json::to_value(current), serde_json::to_value(desired))
    else {
        // A spec is a struct of named fields; anything else has no field to differ in.
        return Vec::new();
    };
    desired
        .into_iter()
        .filter(|(field, _)| !R::NOT_COMPARED.contains(&field.as_str()))
        .filter_map(|(field, desired)| {
            let mut current = current.remove(&field).unwrap_or(Value::Null);
            let mut desired = desired;
            if R::UNORDERED.contains(&field.as_str()) {
                sort(&mut current);
                sort(&mut desired);
            }
            (current != desired).then_some(FieldChange {
                field,
                before: current,
                after: desired,
            })
        })
        .collect()
}

/// JSON has no order of its own; the text of the elements gives one.
fn sort(list: &mut Value) {
    if let Value::Array(elements) = list {
        elements.sort_by_cached_key(Value::to_string);
    }
}

/// When those that refer to a resource may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// As soon as it has an id: a listener need not wait until its balancer is active.
    Exists,
    /// Once it can be used: a route to a NAT gateway needs the gateway available.
    Usable,
}

/// Whether a resource ends with its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retention {
    /// Gone when the stack no longer wants it.
    WithStack,
    /// Kept: content-addressed and wanted again later (an image, for the next deploy or a rollback).
    /// A changed wish makes a new one beside the old one.
    ///
    /// It lives on in what it refers to, and no longer than that: what ends takes along those that
    /// outlive their stack and refer to it, as a repository does its images.
    Outlives,
}

/// What goes for good when a resource of a kind ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLoss {
    /// Nothing: another one is as good.
    Nothing,
    /// What it is known by outside of the stack, which another one would have anew: a value of its
    /// [`Output`](Resource::Output), such as an address or a DNS name.
    Output {
        /// The top-level field of the output.
        field: &'static str,
        /// What it is, in a word or two.
        called: &'static str,
    },
    /// What this says in a few words: what it has stored, or what it does for users.
    Words(&'static str),
}

/// What it takes to get from what is there to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Nothing.
    Keep,
    /// A change in place, of these fields.
    Update(Vec<FieldChange>),
    /// A new one in its place; these fields differ, at least one cannot be changed in place.
    Replace(Vec<FieldChange>),
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The name of the field in the spec.
    pub field: String,
    /// The current value.
    pub before: Value,
    /// The desired value.
    pub after: Value,
}
