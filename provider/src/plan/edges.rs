//! The edges of a plan: dependencies between steps.
//!
//! **Invariant:** like the parent module, this one has no async code, no provider and no
//! randomness.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, After, Node, PlanError, Planner};
use crate::claim::Claims;
use crate::name::Kind;

impl Planner<'_> {
    /// Adds the edges: a create waits for the resources that it refers to, a delete waits for the
    /// resources that still refer to it.
    pub(super) fn connect(&mut self) -> Result<(), PlanError> {
        let mut edges = Edges::new(self.nodes.len());
        let (mut makers, mut enders) = (BTreeMap::new(), BTreeMap::new());
        for (index, node) in self.nodes.iter().enumerate() {
            let kinds = match node.step.action {
                Action::Delete { .. } => &mut enders,
                _ => &mut makers,
            };
            let steps: &mut Vec<usize> = kinds.entry(&node.step.key.kind).or_default();
            steps.push(index);
        }

        for (desired, step) in self.making.iter().enumerate() {
            let Some(step) = *step else { continue };
            for &need in self.resources.needs(desired) {
                let Some(earlier) = self.making[need] else {
                    continue;
                };
                let gate = self.metadata(self.resources.get(need).0)?.gate;
                edges.add(
                    step,
                    After {
                        step: earlier,
                        gate,
                    },
                );
            }
            for kind in self.metadata(self.resources.get(desired).0)?.after {
                for &earlier in makers.get(kind).into_iter().flatten() {
                    edges.add(step, After::usable(earlier));
                }
            }
        }
        for (step, node) in self.nodes.iter().enumerate() {
            let (Action::Delete { .. } | Action::Update { .. }, Some(live)) =
                (&node.step.action, node.there)
            else {
                continue;
            };
            // Resources that refer to it are deleted first, or stop referring to it.
            for id in self.reaches(live) {
                if let Some(&ending) = self.ending.get(&id)
                    && ending != step
                {
                    edges.add(ending, After::usable(step));
                }
            }
            if matches!(node.step.action, Action::Delete { .. }) {
                for kind in self.metadata(&node.step.key)?.after {
                    for &earlier in enders.get(kind).into_iter().flatten() {
                        edges.add(earlier, After::usable(step));
                    }
                }
            }
        }
        self.successors(&mut edges)?;
        for (node, after) in self.nodes.iter_mut().zip(edges.0) {
            node.step.after = after;
            node.step.after.sort_unstable();
            node.step.after.dedup();
        }
        Ok(())
    }

    /// A replacement waits for the deletion of the old resource, because names and addresses are
    /// unique. The old resource is deleted last where a kept resource must first be moved from the
    /// old to the new one, and where a kept resource always needs one of that kind.
    fn successors(&self, edges: &mut Edges) -> Result<(), PlanError> {
        let action = |step: usize| &self.nodes[step].step.action;
        let is_update = |step: &usize| matches!(action(*step), Action::Update { .. });
        let mut needed: BTreeSet<&Kind> = BTreeSet::new();
        for Node { step, .. } in &self.nodes {
            if matches!(step.action, Action::Keep { .. } | Action::Update { .. }) {
                needed.extend(self.metadata(&step.key)?.after);
            }
        }
        let replaced = self.ending.values().filter_map(|&old| {
            let desired = self.resources.place(&self.nodes[old].step.key)?;
            let new = self.making[desired]?;
            matches!(action(new), Action::Create { .. }).then_some((old, new))
        });
        let replaced: Vec<(usize, usize)> = replaced.collect();

        let mut last = BTreeSet::new();
        let mut next: Vec<usize> = (0..self.nodes.len()).filter(is_update).collect();
        for &(old, new) in &replaced {
            if needed.contains(&self.nodes[old].step.key.kind) {
                edges.add(old, After::usable(new));
                last.insert(old);
                next.push(old);
            }
        }
        if !next.is_empty() {
            let mut held_up_by: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
            for &ending in self.ending.values() {
                for after in edges.of(ending) {
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
        }
        for (old, new) in replaced {
            if !last.contains(&old) {
                edges.add(new, After::usable(old));
            }
        }
        self.claimants(edges, &last);
        Ok(())
    }

    /// A step that claims a resource held by a pending delete waits for that delete, unless the
    /// delete comes last.
    fn claimants(&self, edges: &mut Edges, last: &BTreeSet<usize>) {
        let ending = self.ending.values().filter(|step| !last.contains(step));
        let ending = Claims::new(ending.flat_map(|&step| {
            let there = self.nodes[step].there.map(|place| &self.there[place]);
            let claims = there.into_iter().flat_map(|there| &there.metadata.claims);
            claims.map(move |claim| (claim.clone(), step))
        }));
        if ending.is_empty() {
            return;
        }
        for (step, node) in self.nodes.iter().enumerate() {
            for claim in &node.claims {
                for end in ending.excluding(claim) {
                    edges.add(step, After::usable(end));
                }
            }
        }
    }
}

/// The dependencies of each step, with repetitions.
struct Edges(Vec<Vec<After>>);

impl Edges {
    fn new(steps: usize) -> Self {
        Self(vec![Vec::new(); steps])
    }

    fn add(&mut self, step: usize, after: After) {
        self.0[step].push(after);
    }

    fn of(&self, step: usize) -> &[After] {
        &self.0[step]
    }
}
