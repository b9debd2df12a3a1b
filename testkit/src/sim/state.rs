//! The state of the simulation, and the rules that hold in any cloud.

use std::collections::{BTreeMap, BTreeSet};

use landfall_provider::{
    Claim, Error, ErrorKind, Gate, Key, Kind, Resource, ResourceName, Result, Retention, StackName,
};
use serde_json::Value;
use tokio::time::Instant;

/// A kind and an id: resources of two kinds may have the same id.
pub(super) type Id = (Kind, String);

/// A resource, from the call that creates it until its last leftovers are gone.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) stack: StackName,
    pub(super) key: Key,
    pub(super) spec: Value,
    pub(super) resolved_refs: Vec<Id>,
    pub(super) claims: Vec<Claim>,
    pub(super) gate: Gate,
    pub(super) retention: Retention,
    pub(super) after: &'static [Kind],
    /// The time from which it is visible to others.
    pub(super) visible_at: Instant,
    pub(super) usable_at: Instant,
    pub(super) ending: Option<Ending>,
    pub(super) failed: Option<String>,
    /// Whether it has lost the tags by which its stack finds it.
    pub(super) untagged: bool,
}

/// The times at which it and its leftovers are gone.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) gone_at: Instant,
    pub(super) free_at: Instant,
}

impl Held {
    /// Whether a query finds it.
    pub(super) fn is_seen(&self, now: Instant) -> bool {
        self.visible_at <= now && !self.is_gone(now)
    }

    /// Whether it exists and is not being deleted.
    pub(super) fn stays(&self) -> bool {
        self.ending.is_none()
    }

    /// Whether only leftovers may exist.
    pub(super) fn is_gone(&self, now: Instant) -> bool {
        self.ending.is_some_and(|ending| ending.gone_at <= now)
    }
}

/// All resources by id, with indices.
#[derive(Clone, Default)]
pub(super) struct Things {
    made: u64,
    held: BTreeMap<Id, Held>,
    by_key: BTreeMap<(StackName, Key), BTreeSet<Id>>,
    users: BTreeMap<Id, BTreeSet<Id>>,
    /// Resources being deleted, by the time at which their leftovers are gone.
    freed: BTreeSet<(Instant, Id)>,
}

impl Things {
    /// Removes the resources that are gone by now.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, id)) = self.freed.first().cloned() {
            if at > now {
                break;
            }
            self.freed.remove(&(at, id.clone()));
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &Id) {
        let Some(held) = self.held.remove(id) else {
            return;
        };
        for reference in held.resolved_refs {
            remove(&mut self.users, &reference, id);
        }
        remove(&mut self.by_key, &(held.stack, held.key), id);
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Held> {
        self.held.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &Id) -> Option<&mut Held> {
        self.held.get_mut(id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Id, &Held)> {
        self.held.iter()
    }

    pub(super) fn of_kind<'a>(
        &'a self,
        kind: &'a Kind,
    ) -> impl Iterator<Item = (&'a Id, &'a Held)> {
        self.held
            .range((kind.clone(), String::new())..)
            .take_while(move |((of, _), _)| of == kind)
    }

    /// All resources under a key that are not gone.
    pub(super) fn under(&self, stack: &StackName, key: &Key) -> Vec<(&Id, &Held)> {
        let now = Instant::now();
        let ids = self.by_key.get(&(stack.clone(), key.clone()));
        let ids = ids.into_iter().flatten();
        ids.filter_map(|id| self.held.get_key_value(id))
            .filter(|(_, held)| !held.is_gone(now))
            .collect()
    }

    pub(super) fn add(&mut self, kind: Kind, held: Held) -> String {
        self.made += 1;
        let name = format!("{kind}-{:04}", self.made);
        let id = (kind, name.clone());
        for reference in &held.resolved_refs {
            let users = self.users.entry(reference.clone()).or_default();
            users.insert(id.clone());
        }
        let key = (held.stack.clone(), held.key.clone());
        self.by_key.entry(key).or_default().insert(id.clone());
        self.held.insert(id, held);
        name
    }

    /// Checks that no other resource holds any of these claims. A resource with a claim refers to
    /// the claim's parent.
    pub(super) fn nobody_claims(
        &self,
        claims: &[Claim],
        resolved_refs: &[Id],
        but: Option<&Id>,
    ) -> Result<()> {
        if claims.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let neighbours = resolved_refs
            .iter()
            .filter_map(|id| self.users.get(id))
            .flatten();
        for id in neighbours.filter(|id| Some(*id) != but) {
            let Some(held) = self.held.get(id).filter(|held| !held.is_gone(now)) else {
                continue;
            };
            let taken = |claim: &Claim| held.claims.iter().any(|other| other.excludes(claim));
            if claims.iter().any(taken) {
                let why = format!("{} has it already", held.key);
                return Err(Error::new(ErrorKind::AlreadyExists, why));
            }
        }
        Ok(())
    }

    /// Changes the spec of a resource.
    pub(super) fn change(
        &mut self,
        id: &Id,
        spec: Value,
        resolved_refs: Vec<Id>,
        claims: Vec<Claim>,
    ) {
        let Some(held) = self.held.get_mut(id) else {
            return;
        };
        held.spec = spec;
        held.claims = claims;
        let before = std::mem::replace(&mut held.resolved_refs, resolved_refs.clone());
        for reference in before {
            remove(&mut self.users, &reference, id);
        }
        for reference in resolved_refs {
            self.users.entry(reference).or_default().insert(id.clone());
        }
    }

    /// Renames a resource in its stack.
    pub(super) fn rename(&mut self, id: &Id, name: ResourceName) {
        let Some(held) = self.held.get_mut(id) else {
            return;
        };
        let before = (held.stack.clone(), held.key.clone());
        held.key.name = name;
        let after = (held.stack.clone(), held.key.clone());
        remove(&mut self.by_key, &before, id);
        self.by_key.entry(after).or_default().insert(id.clone());
    }

    /// Starts to delete a resource, and with it those that outlive their stack and refer to it.
    pub(super) fn end(&mut self, id: &Id, ending: Ending) {
        for user in self.users.get(id).cloned().unwrap_or_default() {
            let goes_along = |held: &Held| held.retention == Retention::Outlives && held.stays();
            if self.held.get(&user).is_some_and(goes_along) {
                self.end(&user, ending);
            }
        }
        if let Some(held) = self.held.get_mut(id) {
            held.ending = Some(ending);
            self.freed.insert((ending.free_at, id.clone()));
        }
    }

    /// The ids of a spec's references, all of them visible and in the state that their kind
    /// requires.
    pub(super) fn resolved_refs<R: Resource>(&self, spec: &R) -> Result<Vec<Id>> {
        let now = Instant::now();
        let mut resolved_refs = Vec::new();
        for reference in spec.clone().references() {
            let Some(id) = reference.id() else {
                return Err(Error::new(ErrorKind::Invalid, "a reference without an id"));
            };
            let reference = (reference.kind(), id.to_owned());
            let there = self.held.get(&reference);
            let there = there.filter(|held| held.stays() && held.is_seen(now));
            let Some(there) = there else {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format_args!("{id} is not there"),
                ));
            };
            if there.gate == Gate::Usable && (now < there.usable_at || there.failed.is_some()) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format_args!("{id} is not usable"),
                ));
            }
            resolved_refs.push(reference);
        }
        Ok(resolved_refs)
    }

    /// A resource that needs this one and is not deleted with it: it refers to it, or must be
    /// deleted before the last resource of its kind. A deleted resource with leftovers counts.
    pub(super) fn user(&self, of: &Id, stack: &StackName) -> Option<&Held> {
        let users = self.users.get(of).into_iter().flatten();
        if let Some(user) = users
            .filter(|id| *id != of)
            .filter_map(|id| self.held.get(id))
            .find(|user| user.retention == Retention::WithStack)
        {
            return Some(user);
        }
        let is_last = !self
            .of_kind(&of.0)
            .any(|(id, held)| id != of && held.stack == *stack);
        if !is_last {
            return None;
        }
        self.held
            .values()
            .find(|held| held.stack == *stack && held.after.contains(&of.0))
    }

    /// The ids of all permanent resources under a key, of any stack.
    pub(super) fn ids(&self, key: &Key) -> Vec<Id> {
        let staying = self.held.iter().filter(|(_, held)| held.stays());
        staying
            .filter(|(_, held)| held.key == *key)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// The permanent resources: one line each, with keys instead of ids, in order.
    pub(super) fn lines(&self) -> Vec<String> {
        let keys: BTreeMap<&str, &Key> = self
            .held
            .iter()
            .map(|((_, id), held)| (id.as_str(), &held.key))
            .collect();
        let staying = self.held.values().filter(|held| held.stays());
        let mut lines: Vec<String> = staying
            .map(|held| {
                let mut spec = held.spec.clone();
                with_keys(&mut spec, &keys);
                let failed = held.failed.as_deref().map(|why| format!(" failed: {why}"));
                format!(
                    "{} {} {spec}{}",
                    held.stack,
                    held.key,
                    failed.unwrap_or_default()
                )
            })
            .collect();
        lines.sort();
        lines
    }
}

fn remove<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

/// Replaces ids by keys; values that were ordered by id are sorted by key.
fn with_keys(value: &mut Value, keys: &BTreeMap<&str, &Key>) {
    match value {
        Value::String(text) => {
            if let Some(key) = keys.get(text.as_str()) {
                *text = format!("${{{key}}}");
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|one| with_keys(one, keys)),
        Value::Object(fields) => fields.values_mut().for_each(|one| with_keys(one, keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
