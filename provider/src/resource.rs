//! Resources: the desired state of a user, comparable with the live state.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claim::Claim;
use crate::ids::ResourceId;
use crate::input::Reference;
use crate::name::Kind;

/// A kind of resource that a provider can hold. The struct is the desired spec; it has no id.
pub trait Resource:
    Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The kind, by its term in the field.
    const KIND: Kind;
    /// The gate after which resources that refer to it may start.
    const GATE: Gate = Gate::Usable;
    /// Top-level fields that cannot be updated in place.
    const FORCES_REPLACEMENT: &'static [&'static str] = &[];
    /// Top-level fields that describe the creation and not the resource: never compared.
    const NOT_COMPARED: &'static [&'static str] = &[];
    /// Top-level fields that are unordered lists: compared as sets.
    const UNORDERED: &'static [&'static str] = &[];
    /// Kinds of the same stack that are created before it and deleted after it, although no field
    /// refers to them.
    const AFTER: &'static [Kind] = &[];
    /// Whether it is deleted with its stack.
    const RETENTION: Retention = Retention::WithStack;
    /// The data lost for good with its deletion, which a new resource does not bring back.
    const DATA_LOSS: DataLoss = DataLoss::Nothing;
    /// The time limit until it is usable.
    const CREATE_TIMEOUT: Duration = Duration::from_secs(300);
    /// The time limit until it is gone.
    const DELETE_TIMEOUT: Duration = Self::CREATE_TIMEOUT;
    /// The least time that it typically takes to become usable, for slow kinds. From then on it is
    /// probed often, so that its dependents need not wait for the next probe.
    const TYPICAL_CREATE_TIME: Duration = Duration::ZERO;

    /// The id that a provider assigns.
    type Id: ResourceId;
    /// The values known once it is usable: addresses, a DNS name.
    type Output: Clone + PartialEq + fmt::Debug + Serialize + DeserializeOwned + Send + Sync;

    /// Every field that refers to another resource, in the order of declaration.
    fn references(&mut self) -> Vec<&mut dyn Reference>;

    /// Exclusive claims. A resource that wants one is created after its holder is deleted.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// The data lost with this resource, for kinds where it depends on the spec.
    fn loss(&self) -> DataLoss {
        Self::DATA_LOSS
    }

    /// Reports whether the change requires a replacement although each changed field could be
    /// updated in place. For kinds where only the combination of fields decides.
    fn requires_replacement(_current: &Self, _desired: &Self) -> bool {
        false
    }

    /// The change from `current` to `desired`.
    ///
    /// Compares field by field; [`FORCES_REPLACEMENT`](Self::FORCES_REPLACEMENT),
    /// [`requires_replacement`](Self::requires_replacement) and
    /// [`NOT_COMPARED`](Self::NOT_COMPARED) define the meaning of a difference.
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
        // A spec is a struct of named fields; any other value has no fields to compare.
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

/// JSON has no order for elements; sort by their text.
fn sort(list: &mut Value) {
    if let Value::Array(elements) = list {
        elements.sort_by_cached_key(Value::to_string);
    }
}

/// The state that a resource must reach before its dependents may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// As soon as it has an id: a listener does not wait until its balancer is active.
    Exists,
    /// Once it is usable: a route to a NAT gateway needs an available gateway.
    Usable,
}

/// Whether a resource is deleted with its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retention {
    /// Deleted when the stack no longer contains it.
    WithStack,
    /// Kept: content-addressed and needed again later (an image, for the next deploy or a
    /// rollback). A changed spec creates a new resource beside the old one.
    ///
    /// It lives inside the resource that it refers to, and no longer: deleting that parent deletes
    /// the resources that outlive their stack and refer to it, as a repository contains its images.
    Outlives,
}

/// The data lost for good when a resource of a kind is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLoss {
    /// Nothing: a new resource is equivalent.
    Nothing,
    /// A value by which it is known outside of the stack, and which a new resource would get anew:
    /// a field of its [`Output`](Resource::Output), such as an address or a DNS name.
    Output {
        /// The top-level field of the output.
        field: &'static str,
        /// A name for it, in a word or two.
        called: &'static str,
    },
    /// A short description: the stored data, or its service to users.
    Words(&'static str),
}

/// The change from the live to the desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// None.
    Keep,
    /// An update in place, of these fields.
    Update(Vec<FieldChange>),
    /// A replacement; these fields differ, at least one cannot be updated in place.
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
