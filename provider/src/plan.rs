//! The planner: decides every step before the first one is made, without I/O, clock or randomness.
//!
//! **Invariant:** this module has no async code, no provider and no randomness. Two plans from the
//! same desired resources and the same snapshot are equal.

mod desired;
mod edges;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::desired::DesiredResources;
use crate::claim::Claim;
use crate::name::{Key, Kind, StackName};
use crate::provider::Probe;
use crate::resource::{Change, FieldChange, Gate, Retention};
use crate::schema::{KindMetadata, ResolvedRef, Schema, SpecMetadata};
use crate::snapshot::{Found, Snapshot};
use crate::stack::Stack;

/// Every decision, and the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The stack that the plan changes.
    pub stack: StackName,
    /// The steps; each step is listed after the steps that it waits for.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether the plan changes nothing.
    pub fn is_empty(&self) -> bool {
        self.steps
            .iter()
            .all(|step| matches!(step.action, Action::Keep { .. }))
    }
}

/// One step: the action on one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The resource.
    pub key: Key,
    /// The action.
    pub action: Action,
    /// The steps that it waits for.
    pub after: Vec<After>,
}

/// An edge of the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct After {
    /// The index of the step that goes first.
    pub step: usize,
    /// The gate that the earlier step must have reached.
    pub gate: Gate,
}

impl After {
    fn usable(step: usize) -> Self {
        Self {
            step,
            gate: Gate::Usable,
        }
    }
}

/// The action of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The resource already matches; if it is not usable yet, the step waits for it.
    Keep {
        /// The live resource.
        live: Found,
    },
    /// The resource is created.
    Create {
        /// The spec; references to resources that do not exist yet are written `${kind/name}`.
        desired: Value,
        /// The reason for a new resource, if a live one exists.
        because: Option<Reason>,
    },
    /// The resource is updated in place.
    Update {
        /// The live resource.
        live: Found,
        /// The desired spec.
        desired: Value,
        /// The fields that differ.
        fields: Vec<FieldChange>,
    },
    /// The resource is deleted.
    Delete {
        /// The live resource.
        live: Found,
        /// The reason.
        because: Reason,
    },
}

/// The reason why a live resource is deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The stack does not contain it.
    NotWanted,
    /// These fields differ, and not all of them can be updated in place.
    Replaced(Vec<FieldChange>),
    /// It failed, for this reason.
    Failed(String),
    /// It is already being deleted, and its replacement is created afterwards.
    Ending,
    /// An interrupted run left a second resource under the same key.
    Duplicate,
}

/// The reason why no plan can be made. All of them are faults of the stack itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field refers to a resource that the stack does not contain.
    #[error("{from} refers to {to}, which is not in the stack")]
    MissingReference {
        /// The resource with the reference.
        from: Key,
        /// The missing resource.
        to: Key,
    },
    /// Resources depend on each other in a cycle.
    #[error("{}", waiting(.0))]
    Cycle(Vec<Key>),
    /// The provider's catalog does not contain the kind.
    #[error("{0}: this provider does not support resources of this kind")]
    UnknownKind(Key),
    /// A spec does not have the shape of its kind.
    #[error("{0}: {1}")]
    SpecMismatch(Key, String),
}

fn waiting(cycle: &[Key]) -> String {
    match cycle {
        [one] => format!("{one} waits for itself"),
        more => {
            let keys: Vec<_> = more.iter().map(ToString::to_string).collect();
            format!("{} wait for each other", keys.join(", "))
        }
    }
}

/// Compares the desired resources with the live ones.
///
/// # Errors
/// [`PlanError`] when the stack contradicts itself.
pub fn plan(desired: &Stack, live: &Snapshot, schema: &Schema) -> Result<Plan, PlanError> {
    let resources = DesiredResources::new(desired)?;
    let mut planner = Planner {
        schema,
        nodes: Vec::with_capacity(resources.len()),
        making: vec![None; resources.len()],
        resources,
        there: Vec::with_capacity(live.found().len()),
        ending: BTreeMap::new(),
        lasting: BTreeMap::new(),
    };
    planner.decide(live)?;
    planner.connect()?;
    Ok(Plan {
        stack: desired.name().clone(),
        steps: planner.in_order()?,
    })
}

/// An id and its kind: resources of two kinds may have the same id.
type Id<'a> = (&'a Kind, &'a str);

struct Planner<'a> {
    schema: &'a Schema,
    resources: DesiredResources<'a>,
    nodes: Vec<Node>,
    /// The live resources, in the order of the snapshot.
    there: Vec<There<'a>>,
    /// The step after which a desired resource has its (new) id, by the resource's index.
    making: Vec<Option<usize>>,
    /// The step that deletes a live resource.
    ending: BTreeMap<Id<'a>, usize>,
    /// The live resources that outlive their stack, by index.
    lasting: BTreeMap<Id<'a>, usize>,
}

/// A step that is being planned.
struct Node {
    step: Step,
    /// The index of the step's live resource.
    there: Option<usize>,
    /// The claims of the desired spec, for a step that creates or updates.
    claims: Vec<Claim>,
}

/// A live resource and the metadata of its spec. Each spec is read once: reading is most of the
/// cost of planning.
struct There<'a> {
    found: &'a Found,
    metadata: SpecMetadata,
}

impl<'a> Planner<'a> {
    fn metadata(&self, key: &Key) -> Result<&'a KindMetadata, PlanError> {
        self.schema
            .get(&key.kind)
            .ok_or_else(|| PlanError::UnknownKind(key.clone()))
    }

    /// The ids that a live resource refers to, directly or through resources that outlive the
    /// stack: such a resource is deleted together with its parent, and must not be deleted while it
    /// is in use.
    fn reaches(&self, live: usize) -> Vec<Id<'_>> {
        let mut reached: Vec<Id<'_>> = self.there[live].resolved_refs().collect();
        let mut next = 0;
        while let Some(id) = reached.get(next) {
            if let Some(&lasting) = self.lasting.get(id) {
                for reference in self.there[lasting].resolved_refs() {
                    if !reached.contains(&reference) {
                        reached.push(reference);
                    }
                }
            }
            next += 1;
        }
        reached
    }

    fn push(&mut self, key: &Key, action: Action, there: Option<usize>) -> usize {
        self.nodes.push(Node {
            step: Step {
                key: key.clone(),
                action,
                after: Vec::new(),
            },
            there,
            claims: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// Chooses one action for every key: first the desired resources in the order of their
    /// references, so that the ids of kept resources are known to the resources that refer to them;
    /// then the live resources that the stack does not contain.
    fn decide(&mut self, live: &'a Snapshot) -> Result<(), PlanError> {
        let mut by_key: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
        for (place, found) in live.found().iter().enumerate() {
            let kind = self.metadata(&found.key)?;
            let metadata = kind
                .read(&found.spec)
                .map_err(|error| PlanError::SpecMismatch(found.key.clone(), error.to_string()))?;
            by_key.entry(&found.key).or_default().push(place);
            if kind.retention == Retention::Outlives {
                self.lasting.insert(id_of(found), place);
            }
            self.there.push(There { found, metadata });
        }
        let uses = self.uses(by_key.values().filter(|places| places.len() > 1));
        let mut ids: BTreeMap<&Key, &str> = BTreeMap::new();
        for index in self.resources.in_order()? {
            let (key, spec) = self.resources.get(index);
            let metadata = self.metadata(key)?;
            let spec_mismatch =
                |error: serde_json::Error| PlanError::SpecMismatch(key.clone(), error.to_string());
            let (desired, claims) = metadata
                .resolved(spec, &|key| ids.get(key).map(|&id| id.to_owned()))
                .map_err(spec_mismatch)?;

            let mut candidates = Vec::new();
            for place in by_key.remove(key).unwrap_or_default() {
                let found = self.there[place].found;
                // Equal specs need no comparison field by field.
                let change = if found.spec == desired {
                    Change::Keep
                } else {
                    metadata
                        .change(&found.spec, &desired)
                        .map_err(spec_mismatch)?
                };
                let rank = match (&found.state, &change) {
                    (Probe::Failed(_) | Probe::Ending(_), _) => 3,
                    (_, Change::Keep) => 0,
                    (_, Change::Update(_)) => 1,
                    (_, Change::Replace(_)) => 2,
                };
                candidates.push((rank, place, change));
            }
            // Of several equal candidates, take the one that others already use.
            candidates.sort_by_key(|(rank, place, _)| (*rank, Reverse(uses.get(place).copied())));
            let mut candidates = candidates.into_iter();

            let (making, there) = match candidates.next() {
                Some((_, place, change)) => {
                    let live = self.there[place].found;
                    let action = match unfit(live, change) {
                        Ok(Change::Update(fields)) => {
                            ids.insert(key, &live.id);
                            Action::Update {
                                live: live.clone(),
                                desired,
                                fields,
                            }
                        }
                        Ok(_) => {
                            ids.insert(key, &live.id);
                            Action::Keep { live: live.clone() }
                        }
                        Err(reason) => {
                            self.end(place, reason.clone(), metadata.retention);
                            Action::Create {
                                desired,
                                because: Some(reason),
                            }
                        }
                    };
                    (action, Some(place))
                }
                None => {
                    let because = None;
                    (Action::Create { desired, because }, None)
                }
            };
            let keeps = matches!(making, Action::Keep { .. });
            let making = self.push(key, making, there);
            if !keeps {
                self.nodes[making].claims = claims;
            }
            self.making[index] = Some(making);
            for (_, surplus, change) in candidates {
                let reason = unfit(self.there[surplus].found, change);
                let reason = reason.err().unwrap_or(Reason::Duplicate);
                self.end(surplus, reason, metadata.retention);
            }
        }
        for place in by_key.into_values().flatten() {
            let retention = self.metadata(&self.there[place].found.key)?.retention;
            self.end(place, Reason::NotWanted, retention);
        }
        Ok(())
    }

    /// The number of live resources that refer to each of those that share a key, by index.
    fn uses<'b>(&self, several: impl Iterator<Item = &'b Vec<usize>>) -> BTreeMap<usize, usize> {
        let several = several.flatten();
        let places: BTreeMap<Id<'_>, usize> = several
            .map(|&place| (id_of(self.there[place].found), place))
            .collect();
        let mut uses = BTreeMap::new();
        if places.is_empty() {
            return uses;
        }
        for reference in self.there.iter().flat_map(There::resolved_refs) {
            if let Some(&place) = places.get(&reference) {
                *uses.entry(place).or_default() += 1;
            }
        }
        uses
    }

    fn end(&mut self, place: usize, because: Reason, retention: Retention) {
        if retention == Retention::WithStack {
            let live = self.there[place].found;
            let action = Action::Delete {
                live: live.clone(),
                because,
            };
            let step = self.push(&live.key, action, Some(place));
            self.ending.insert(id_of(live), step);
        }
    }

    /// The steps, each after the steps that it waits for; equal ones by key.
    fn in_order(self) -> Result<Vec<Step>, PlanError> {
        let nodes: Vec<Step> = self.nodes.into_iter().map(|node| node.step).collect();
        let mut waits: Vec<usize> = nodes.iter().map(|node| node.after.len()).collect();
        let mut frees: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            for after in &node.after {
                frees[after.step].push(index);
            }
        }
        let mut ready: BTreeSet<(&Key, usize)> = (0..nodes.len())
            .filter(|&index| waits[index] == 0)
            .map(|index| (&nodes[index].key, index))
            .collect();
        let mut place = vec![usize::MAX; nodes.len()];
        let mut order = Vec::with_capacity(nodes.len());
        while let Some((_, index)) = ready.pop_first() {
            place[index] = order.len();
            order.push(index);
            for &next in &frees[index] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    ready.insert((&nodes[next].key, next));
                }
            }
        }
        if order.len() < nodes.len() {
            let stuck = (0..nodes.len()).filter(|&index| place[index] == usize::MAX);
            let waits = stuck.map(|index| {
                let after = &nodes[index].after;
                (index, after.iter().map(|after| after.step).collect())
            });
            let cycle = cycle(waits.collect()).into_iter();
            let mut keys: Vec<_> = cycle.map(|index| nodes[index].key.clone()).collect();
            keys.sort();
            return Err(PlanError::Cycle(keys));
        }
        let mut nodes: Vec<Option<Step>> = nodes.into_iter().map(Some).collect();
        let mut steps: Vec<Step> = order
            .into_iter()
            .filter_map(|index| nodes[index].take())
            .collect();
        for step in &mut steps {
            for after in &mut step.after {
                after.step = place[after.step];
            }
            step.after.sort();
        }
        Ok(steps)
    }
}

fn id_of(live: &Found) -> Id<'_> {
    (&live.key.kind, &live.id)
}

impl There<'_> {
    /// The ids that it refers to.
    fn resolved_refs(&self) -> impl Iterator<Item = Id<'_>> {
        let resolved_refs = self.metadata.resolved_refs.iter();
        resolved_refs.filter_map(|reference| match reference {
            ResolvedRef::Id(kind, id) => Some((kind, id.as_str())),
            ResolvedRef::Key(_) => None,
        })
    }
}

/// The reason why a live resource cannot stay under its key; otherwise its change.
fn unfit(live: &Found, change: Change) -> Result<Change, Reason> {
    match (&live.state, change) {
        (Probe::Failed(why), _) => Err(Reason::Failed(why.clone())),
        (Probe::Ending(_), _) => Err(Reason::Ending),
        (_, Change::Replace(fields)) => Err(Reason::Replaced(fields)),
        (_, change) => Ok(change),
    }
}

/// The members of the cycle: drops every waiting node that no other waiting node depends on.
fn cycle<T: Ord + Copy>(mut waits: BTreeMap<T, BTreeSet<T>>) -> Vec<T> {
    loop {
        let needed: BTreeSet<T> = waits.values().flatten().copied().collect();
        let before = waits.len();
        waits.retain(|one, _| needed.contains(one));
        if waits.len() == before {
            return waits.into_keys().collect();
        }
    }
}
