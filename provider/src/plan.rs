//! What has to be done, decided in full before anything is done: no I/O, no clock, no chance.
//!
//! **Invariant:** this module knows no async, no provider and no randomness. Two plans of the same
//! wishes and the same snapshot are equal.

mod edges;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{Key, Kind, StackName};
use crate::provider::Probe;
use crate::resource::{Change, FieldChange, Gate, Retention};
use crate::schema::{KindFacts, Mention, Schema};
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
        want: Value,
        /// Why there has to be a new one although there is one, if so.
        because: Option<Reason>,
    },
    /// It is changed in place.
    Update {
        /// What is there.
        live: Found,
        /// The spec that it is to have.
        want: Value,
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
    Surplus,
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

fn waiting(circle: &[Key]) -> String {
    match circle {
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
    let mut planner = Planner {
        schema,
        nodes: Vec::new(),
        making: BTreeMap::new(),
        ending: BTreeMap::new(),
        uses: BTreeMap::new(),
        lasting: BTreeMap::new(),
    };
    planner.decide(desired, live)?;
    planner.connect(desired)?;
    Ok(Plan {
        stack: desired.name().clone(),
        steps: planner.in_order()?,
    })
}

/// An id, and the kind of what it names: two kinds may have the same.
type Id = (Kind, String);

struct Planner<'a> {
    schema: &'a Schema,
    nodes: Vec<Step>,
    /// The step after which a key has its (new) id.
    making: BTreeMap<Key, usize>,
    /// The step that ends a live resource.
    ending: BTreeMap<Id, usize>,
    /// How many live resources mention one.
    uses: BTreeMap<Id, usize>,
    /// What is live and outlives its stack.
    lasting: BTreeMap<Id, &'a Found>,
}

impl<'a> Planner<'a> {
    fn facts(&self, key: &Key) -> Result<&KindFacts, PlanError> {
        self.schema
            .get(&key.kind)
            .ok_or_else(|| PlanError::UnknownKind(key.clone()))
    }

    /// The ids that a live resource refers to, and those that it reaches through what outlives its stack: that goes
    /// with what it is in, and must not go while it is in use.
    fn reaches(&self, live: &Found) -> Result<Vec<Id>, PlanError> {
        let mut reached = self.mentions(live)?;
        let mut next = 0;
        while let Some(id) = reached.get(next) {
            if let Some(lasting) = self.lasting.get(id) {
                for mention in self.mentions(lasting)? {
                    if !reached.contains(&mention) {
                        reached.push(mention);
                    }
                }
            }
            next += 1;
        }
        Ok(reached)
    }

    /// The ids that a live resource refers to.
    fn mentions(&self, live: &Found) -> Result<Vec<Id>, PlanError> {
        let mentions = self
            .facts(&live.key)?
            .mentions(&live.spec)
            .map_err(|error| PlanError::Misfit(live.key.clone(), error.to_string()))?;
        Ok(mentions
            .into_iter()
            .filter_map(|mention| match mention {
                Mention::Id(kind, id) => Some((kind, id)),
                Mention::Key(_) => None,
            })
            .collect())
    }

    fn uses(&self, live: &Found) -> usize {
        self.uses.get(&id_of(live)).copied().unwrap_or(0)
    }

    fn push(&mut self, key: &Key, action: Action) -> usize {
        self.nodes.push(Step {
            key: key.clone(),
            action,
            after: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// One action for every key: wishes in the order of their references, so that the ids of what
    /// stays are known to what refers to it; then what nobody wants.
    fn decide(&mut self, desired: &Stack, live: &'a Snapshot) -> Result<(), PlanError> {
        let mut by_key: BTreeMap<&Key, Vec<&Found>> = BTreeMap::new();
        for found in live.found() {
            by_key.entry(&found.key).or_default().push(found);
            if self.facts(&found.key)?.retention == Retention::Outlives {
                self.lasting.insert(id_of(found), found);
            }
            for mention in self.mentions(found)? {
                *self.uses.entry(mention).or_default() += 1;
            }
        }
        let mut ids: BTreeMap<Key, String> = BTreeMap::new();
        for key in wishes_in_order(desired)? {
            let facts = *self.facts(key)?;
            let misfit =
                |error: serde_json::Error| PlanError::Misfit(key.clone(), error.to_string());
            let want = facts
                .resolve(&desired.wishes()[key].spec, &|key| ids.get(key).cloned())
                .map_err(misfit)?;

            let mut candidates = Vec::new();
            for found in by_key.remove(key).unwrap_or_default() {
                let change = facts.change(&found.spec, &want).map_err(misfit)?;
                let rank = match (&found.state, &change) {
                    (Probe::Failed(_) | Probe::Ending(_), _) => 3,
                    (_, Change::Keep) => 0,
                    (_, Change::Update(_)) => 1,
                    (_, Change::Replace(_)) => 2,
                };
                candidates.push((rank, found, change));
            }
            // Of several that fit equally, the one that others use already.
            candidates.sort_by_key(|(rank, found, _)| (*rank, Reverse(self.uses(found))));
            let mut candidates = candidates.into_iter();

            let making = match candidates.next() {
                Some((_, live, change)) => match unfit(live, change) {
                    Ok(Change::Update(fields)) => {
                        ids.insert(key.clone(), live.id.clone());
                        Action::Update {
                            live: live.clone(),
                            want,
                            fields,
                        }
                    }
                    Ok(_) => {
                        ids.insert(key.clone(), live.id.clone());
                        Action::Keep { live: live.clone() }
                    }
                    Err(reason) => {
                        self.end(live, reason.clone(), facts.retention);
                        Action::Create {
                            want,
                            because: Some(reason),
                        }
                    }
                },
                None => Action::Create {
                    want,
                    because: None,
                },
            };
            let making = self.push(key, making);
            self.making.insert(key.clone(), making);
            for (_, surplus, change) in candidates {
                let reason = unfit(surplus, change).err().unwrap_or(Reason::Surplus);
                self.end(surplus, reason, facts.retention);
            }
        }
        for found in by_key.into_values().flatten() {
            let retention = self.facts(&found.key)?.retention;
            self.end(found, Reason::NotWanted, retention);
        }
        Ok(())
    }

    fn end(&mut self, found: &Found, because: Reason, retention: Retention) {
        if retention == Retention::WithStack {
            let step = self.push(
                &found.key,
                Action::Delete {
                    live: found.clone(),
                    because,
                },
            );
            self.ending.insert(id_of(found), step);
        }
    }

    /// The steps, each behind those that it waits for; among equals by key.
    fn in_order(self) -> Result<Vec<Step>, PlanError> {
        let mut waits: Vec<usize> = self.nodes.iter().map(|node| node.after.len()).collect();
        let mut frees: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for after in &node.after {
                frees[after.step].push(index);
            }
        }
        let mut ready: BTreeSet<(&Key, usize)> = (0..self.nodes.len())
            .filter(|&index| waits[index] == 0)
            .map(|index| (&self.nodes[index].key, index))
            .collect();
        let mut place = vec![usize::MAX; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some((_, index)) = ready.pop_first() {
            place[index] = order.len();
            order.push(index);
            for &next in &frees[index] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    ready.insert((&self.nodes[next].key, next));
                }
            }
        }
        if order.len() < self.nodes.len() {
            let stuck = (0..self.nodes.len()).filter(|&index| place[index] == usize::MAX);
            let waits = stuck.map(|index| {
                let after = &self.nodes[index].after;
                (index, after.iter().map(|after| after.step).collect())
            });
            let circle = circle(waits.collect()).into_iter();
            let mut keys: Vec<_> = circle.map(|index| self.nodes[index].key.clone()).collect();
            keys.sort();
            return Err(PlanError::Cycle(keys));
        }
        let mut nodes: Vec<Option<Step>> = self.nodes.into_iter().map(Some).collect();
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

fn id_of(live: &Found) -> Id {
    (live.key.kind.clone(), live.id.clone())
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

/// The wanted keys, each behind those that it refers to.
fn wishes_in_order(desired: &Stack) -> Result<Vec<&Key>, PlanError> {
    let wishes = desired.wishes();
    let mut waits: BTreeMap<&Key, usize> = BTreeMap::new();
    let mut frees: BTreeMap<&Key, Vec<&Key>> = BTreeMap::new();
    for (key, wish) in wishes {
        let needs: BTreeSet<&Key> = wish.needs.iter().collect();
        waits.insert(key, needs.len());
        for need in needs {
            if !wishes.contains_key(need) {
                return Err(PlanError::MissingReference {
                    from: key.clone(),
                    to: need.clone(),
                });
            }
            frees.entry(need).or_default().push(key);
        }
    }
    let mut ready: BTreeSet<&Key> = waits
        .iter()
        .filter(|(_, waits)| **waits == 0)
        .map(|(key, _)| *key)
        .collect();
    let mut order = Vec::with_capacity(wishes.len());
    while let Some(key) = ready.pop_first() {
        order.push(key);
        for next in frees.get(key).into_iter().flatten() {
            if let Some(count) = waits.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(next);
                }
            }
        }
    }
    if order.len() < wishes.len() {
        let stuck = waits.into_iter().filter(|(_, waits)| *waits > 0);
        let waits = stuck.map(|(key, _)| (key, wishes[key].needs.iter().collect()));
        let circle = circle(waits.collect()).into_iter();
        return Err(PlanError::Cycle(circle.cloned().collect()));
    }
    Ok(order)
}

/// Of those that wait for ever, the ones that others of them wait for: without what only comes behind.
fn circle<T: Ord + Copy>(mut waits: BTreeMap<T, BTreeSet<T>>) -> Vec<T> {
    loop {
        let needed: BTreeSet<T> = waits.values().flatten().copied().collect();
        let before = waits.len();
        waits.retain(|one, _| needed.contains(one));
        if waits.len() == before {
            return waits.into_keys().collect();
        }
    }
}
