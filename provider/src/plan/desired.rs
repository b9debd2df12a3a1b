//! The desired resources of a [`Plan`](super::Plan), each with an index in the order of keys: their
//! references, and their order of creation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{PlanError, cycle};
use crate::name::Key;
use crate::stack::{DesiredResource, Stack};

/// The desired resources in the order of their keys, with the indices of their references.
pub(super) struct DesiredResources<'a> {
    resources: Vec<(&'a Key, &'a DesiredResource)>,
    needs: Vec<Vec<usize>>,
}

impl<'a> DesiredResources<'a> {
    pub(super) fn new(desired: &'a Stack) -> Result<Self, PlanError> {
        let resources: Vec<_> = desired.resources().iter().collect();
        let mut all = Self {
            needs: Vec::with_capacity(resources.len()),
            resources,
        };
        for &(key, desired) in &all.resources {
            let place = |to: &Key| {
                all.place(to).ok_or_else(|| PlanError::MissingReference {
                    from: key.clone(),
                    to: to.clone(),
                })
            };
            // Report the first missing reference by key, independent of the order of the fields.
            let needs: BTreeSet<&Key> = desired.needs.iter().collect();
            let needs = needs.into_iter().map(place).collect::<Result<_, _>>()?;
            all.needs.push(needs);
        }
        Ok(all)
    }

    pub(super) fn len(&self) -> usize {
        self.resources.len()
    }

    /// The index of a key.
    pub(super) fn place(&self, key: &Key) -> Option<usize> {
        self.resources
            .binary_search_by_key(&key, |(key, _)| key)
            .ok()
    }

    /// The key and the spec at an index.
    pub(super) fn get(&self, place: usize) -> (&'a Key, &'a Value) {
        let (key, desired) = self.resources[place];
        (key, &desired.spec)
    }

    /// The indices of its references.
    pub(super) fn needs(&self, place: usize) -> &[usize] {
        &self.needs[place]
    }

    /// All indices, each after the indices that it refers to.
    pub(super) fn in_order(&self) -> Result<Vec<usize>, PlanError> {
        let mut waits: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut frees: Vec<Vec<usize>> = vec![Vec::new(); self.len()];
        for (place, needs) in self.needs.iter().enumerate() {
            for &need in needs {
                frees[need].push(place);
            }
        }
        // Indices are in the order of keys.
        let mut ready: BTreeSet<usize> =
            (0..self.len()).filter(|&place| waits[place] == 0).collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(place) = ready.pop_first() {
            order.push(place);
            for &next in &frees[place] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    ready.insert(next);
                }
            }
        }
        if order.len() < self.len() {
            let stuck = (0..self.len()).filter(|&place| waits[place] > 0);
            let waits: BTreeMap<usize, BTreeSet<usize>> = stuck
                .map(|place| (place, self.needs[place].iter().copied().collect()))
                .collect();
            let cycle = cycle(waits).into_iter();
            return Err(PlanError::Cycle(
                cycle.map(|place| self.get(place).0.clone()).collect(),
            ));
        }
        Ok(order)
    }
}
