//! The board: the dependencies between steps, and the steps that may start.

use crate::plan::Step;
use crate::resource::Gate;

/// The dependencies between steps.
pub(super) struct Board {
    /// The number of edges that each step still waits for; `None` once it was started.
    waits: Vec<Option<usize>>,
    /// The steps that a step unblocks when it reaches a gate.
    frees: Vec<Vec<(Gate, usize)>>,
    /// The furthest gate that each step has reached.
    at: Vec<Option<Gate>>,
    ready: Vec<usize>,
}

impl Board {
    pub(super) fn new(steps: &[Step]) -> Self {
        let mut frees = vec![Vec::new(); steps.len()];
        for (index, step) in steps.iter().enumerate() {
            for after in &step.after {
                // An edge to a missing step, in a plan made elsewhere, is never unblocked.
                if let Some(frees) = frees.get_mut(after.step) {
                    frees.push((after.gate, index));
                }
            }
        }
        let waits: Vec<_> = steps.iter().map(|step| Some(step.after.len())).collect();
        let ready = (0..steps.len())
            .filter(|&index| waits[index] == Some(0))
            .collect();
        Self {
            waits,
            frees,
            at: vec![None; steps.len()],
            ready,
        }
    }

    pub(super) fn take_ready(&mut self) -> Vec<usize> {
        let ready = std::mem::take(&mut self.ready);
        for &index in &ready {
            self.waits[index] = None;
        }
        ready
    }

    pub(super) fn reached(&mut self, index: usize, gate: Gate) {
        let before = self.at[index].replace(gate);
        for &(needed, next) in &self.frees[index] {
            if needed <= gate
                && before.is_none_or(|before| before < needed)
                && let Some(waits) = &mut self.waits[next]
            {
                *waits -= 1;
                if *waits == 0 {
                    self.ready.push(next);
                }
            }
        }
    }

    pub(super) fn never_started(&self) -> impl Iterator<Item = usize> {
        self.waits
            .iter()
            .enumerate()
            .filter(|(_, waits)| waits.is_some())
            .map(|(index, _)| index)
    }
}
