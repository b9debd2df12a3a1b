//! What has to be done, decided in full before anything is done: no I/O, no clock, no chance.
//!
//! **Invariant:** this module knows no async, no provider and no randomness. Two plans of the same
//! wishes and the same snapshot are equal.

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
    /// The stack that it is for.
    pub stack: StackName,
    /// The steps; a step stands behind those that it waits for.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether carrying it out would change nothing.
    pub fn is_empty(&self) -> bool {
        self.steps
            .iter()
            .all(|step| matches!(step.action, Action::Keep { .. }))
    }
}

/// What is done to one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub key: Key,
    /// What.
    pub action: Action,
    /// What it waits for.
    pub after: Vec<After>,
}

/// An edge of the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct After {
    /// The index of the step that goes first.
    pub step: usize,
    /// How far it must have come.
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

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is as it should be; if it is not usable yet, it is waited for.
    Keep {
        /// What is there.
        live: Found,
    },
    /// It is made.
    Create {
        /// The spec; references to what is not there yet stand in it as `${kind/name}`.
        desired: Value,
        /// Why there has to be a new one although there is one, if so.
        because: Option<Reason>,
    },
    /// It is changed in place.
    Update {
        /// What is there.
        live: Found,
        /// The spec that it is to have.
        desired: Value,
        /// What differs.
        fields: Vec<FieldChange>,
    },
    /// It is ended.
    Delete {
        /// What is there.
        live: Found,
        /// Why.
        because: Reason,
    },
}

/// Why a resource cannot stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nothing in the stack wants it.
    NotWanted,
    /// These fields differ, and not all can be changed in place.
    Replaced(Vec<FieldChange>),
    /// It failed, and says why.
    Failed(String),
    /// It is on its way out already, and what is wanted comes after it.
    Ending,
    /// There is another one under the same key: an interrupted run's.
    Duplicate,
}

/// Why no plan can be made: all reasons are in the stack itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field refers to a resource that the stack does not hold.
    #[error("{from} refers to {to}, which the stack does not hold")]
    MissingReference {
        /// The one that refers.
        from: Key,
        /// The one that is missing.
        to: Key,
    },
    /// Resources wait for each other.
    #[error("{}", waiting(.0))]
    Cycle(Vec<Key>),
    /// The provider's catalog does not know the kind.
    #[error("{0}: this provider does not hold resources of this kind")]
    UnknownKind(Key),
    /// A spec is not of the shape of its kind.
    #[error("{0}: {1}")]
    Misfit(Key, String),
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

/// Compares what is wanted with what is there.
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

/// An id, and the kind of what it names: two kinds may have the same.
type Id<'a> = (&'a Kind, &'a str);

struct Planner<'a> {
    schema: &'a Schema,
    resources: DesiredResources<'a>,
    nodes: Vec<Node>,
    /// What is live, in the order of the snapshot.
    there: Vec<There<'a>>,
    /// The step after which a wish has its (new) id, by the wish's place.
    making: Vec<Option<usize>>,
    /// The step that ends a live resource.
    ending: BTreeMap<Id<'a>, usize>,
    /// What is live and outlives its stack, by its place.
    lasting: BTreeMap<Id<'a>, usize>,
}

/// A step that is being planned.
struct Node {
    step: Step,
    /// What is live and the step is about, by its place.
    there: Option<usize>,
    /// What one of the wanted spec has for itself, where that is made or changed.
    claims: Vec<Claim>,
}

/// What is live, and what its spec tells. A spec is read once: that is most of what planning takes.
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

    /// The ids that a live resource refers to, and those that it reaches through what outlives its stack: that goes
    /// with what it is in, and must not go while it is in use.
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

    /// One action for every key: wishes in the order of their references, so that the ids of what
    /// stays are known to what refers to it; then what nobody wants.
    fn decide(&mut self, live: &'a Snapshot) -> Result<(), PlanError> {
        let mut by_key: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
        for (place, found) in live.found().iter().enumerate() {
            let kind = self.metadata(&found.key)?;
            let metadata = kind
                .read(&found.spec)
                .map_err(|error| PlanError::Misfit(found.key.clone(), error.to_string()))?;
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
                |error: serde_json::Error| PlanError::Misfit(key.clone(), error.to_string());
            let (desired, claims) = metadata
                .resolved(spec, &|key| ids.get(key).map(|&id| id.to_owned()))
                .map_err(spec_mismatch)?;

            let mut candidates = Vec::new();
            for place in by_key.remove(key).unwrap_or_default() {
                let found = self.there[place].found;
                // What is the same is not looked into field by field.
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
            // Of several that fit equally, the one that others use already.
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

    /// How many live resources mention each of those that share a key, by place.
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

    /// The steps, each behind those that it waits for; among equals by key.
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

/// Why a live resource cannot stay under its key; the change to it, if it can.
fn unfit(live: &Found, change: Change) -> Result<Change, Reason> {
    match (&live.state, change) {
        (Probe::Failed(why), _) => Err(Reason::Failed(why.clone())),
        (Probe::Ending(_), _) => Err(Reason::Ending),
        (_, Change::Replace(fields)) => Err(Reason::Replaced(fields)),
        (_, change) => Ok(change),
    }
}

/// Of those that wait for ever, the ones that others of them wait for: without what only comes behind.
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
