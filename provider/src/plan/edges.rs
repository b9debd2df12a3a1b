//! What waits for what: the edges of a plan.
//!
//! **Invariant:** like the module above it, this knows no async, no provider and no randomness.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Action, After, PlanError, Planner};
use crate::claim::Claims;
use crate::name::{Key, Kind};
use crate::stack::Stack;

impl Planner<'_> {
    /// The edges: makers behind what they refer to, endings behind those who still refer to them.
    pub(super) fn connect(&mut self, desired: &Stack) -> Result<(), PlanError> {
        let mut edges: Vec<BTreeSet<After>> = vec![BTreeSet::new(); self.nodes.len()];
        let (mut makers, mut enders) = (BTreeMap::new(), BTreeMap::new());
        for (index, node) in self.nodes.iter().enumerate() {
            let kinds = match node.action {
                Action::Delete { .. } => &mut enders,
                _ => &mut makers,
            };
            let steps: &mut Vec<usize> = kinds.entry(&node.key.kind).or_default();
            steps.push(index);
        }

        for (key, &step) in &self.making {
            for need in &desired.wishes()[key].needs {
                let gate = self.facts(need)?.gate;
                edges[step].insert(After {
                    step: self.making[need],
                    gate,
                });
            }
            for kind in self.facts(key)?.after {
                for &earlier in makers.get(kind).into_iter().flatten() {
                    edges[step].insert(After::usable(earlier));
                }
            }
        }
        for (step, node) in self.nodes.iter().enumerate() {
            let (Action::Delete { live, .. } | Action::Update { live, .. }) = &node.action else {
                continue;
            };
            // Who referred to it goes first, or stops referring to it.
            for id in self.reaches(live)? {
                if let Some(&ending) = self.ending.get(&id)
                    && ending != step
                {
                    edges[ending].insert(After::usable(step));
                }
            }
            if matches!(node.action, Action::Delete { .. }) {
                for kind in self.facts(&node.key)?.after {
                    for &earlier in enders.get(kind).into_iter().flatten() {
                        edges[earlier].insert(After::usable(step));
                    }
                }
            }
        }
        self.successors(&mut edges)?;
        for (node, after) in self.nodes.iter_mut().zip(edges) {
            node.after = after.into_iter().collect();
        }
        Ok(())
    }

    /// A successor comes behind its predecessor's end, since names and addresses are unique; but where
    /// somebody who stays has to be moved from the one to the other first, the end comes last. So it does where
    /// somebody stays who must never be without one of that kind.
    fn successors(&self, edges: &mut [BTreeSet<After>]) -> Result<(), PlanError> {
        let is_update = |step: &usize| matches!(self.nodes[*step].action, Action::Update { .. });
        let mut needed: BTreeSet<&Kind> = BTreeSet::new();
        for node in &self.nodes {
            if matches!(node.action, Action::Keep { .. } | Action::Update { .. }) {
                needed.extend(self.facts(&node.key)?.after);
            }
        }
        let replaced = self.ending.values().filter_map(|&old| {
            let new = *self.making.get(&self.nodes[old].key)?;
            matches!(self.nodes[new].action, Action::Create { .. }).then_some((old, new))
        });
        let replaced: Vec<(usize, usize)> = replaced.collect();

        let mut last = BTreeSet::new();
        let mut next: Vec<usize> = (0..self.nodes.len()).filter(is_update).collect();
        for &(old, new) in &replaced {
            if needed.contains(&self.nodes[old].key.kind) {
                edges[old].insert(After::usable(new));
                last.insert(old);
                next.push(old);
            }
        }
        let mut held_up_by: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for &ending in self.ending.values() {
            for after in &edges[ending] {
                held_up_by[after.step].push(ending);
            }
        }
        while let Some(step) = next.pop() {
            for &ending in &held_up_by[step] {
                if last.insert(ending) {
                    next.push(ending);
                }
            }
        }
        for (old, new) in replaced {
            if !last.contains(&old) {
                edges[new].insert(After::usable(old));
            }
        }
        self.claimants(edges, &last)
    }

    /// Who is to have what one that ends still has comes behind that end, unless the end comes last.
    fn claimants(
        &self,
        edges: &mut [BTreeSet<After>],
        last: &BTreeSet<usize>,
    ) -> Result<(), PlanError> {
        let claims = |key: &Key, spec: &Value| {
            let claims = self.facts(key)?.claims(spec);
            claims.map_err(|error| PlanError::Misfit(key.clone(), error.to_string()))
        };
        let steps = || self.nodes.iter().enumerate();
        let makers = steps().filter_map(|(step, node)| match &node.action {
            Action::Create { want, .. } | Action::Update { want, .. } => Some((step, node, want)),
            Action::Keep { .. } | Action::Delete { .. } => None,
        });
        let mut makers = makers.peekable();
        if makers.peek().is_none() {
            return Ok(());
        }
        let mut ending = Vec::new();
        for (step, node) in steps() {
            if let Action::Delete { live, .. } = &node.action
                && !last.contains(&step)
            {
                let of_step = claims(&node.key, &live.spec)?.into_iter();
                ending.extend(of_step.map(|claim| (claim, step)));
            }
        }
        let ending = Claims::new(ending);
        if ending.is_empty() {
            return Ok(());
        }
        for (step, node, want) in makers {
            for claim in claims(&node.key, want)? {
                edges[step].extend(ending.excluding(&claim).map(After::usable));
            }
        }
        Ok(())
    }
}
