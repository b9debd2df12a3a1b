//! Locks of stacks: one change to a stack at a time. A lock is held as long as its connection is open.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use landfall_provider::{Holder, StackName};

/// The holder of each locked stack.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<BTreeMap<StackName, Holder>>);

/// A held lock; dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    locks: &'a Locks,
    stack: StackName,
}

impl Locks {
    /// Takes the lock of a stack, or returns its holder.
    pub(crate) fn take(&self, stack: StackName, holder: Holder) -> Result<Held<'_>, Holder> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = locks.get(&stack) {
            return Err(holder.clone());
        }
        locks.insert(stack.clone(), holder);
        Ok(Held { locks: self, stack })
    }

    /// The holder of a stack's lock.
    pub(crate) fn holder(&self, stack: &StackName) -> Option<Holder> {
        let locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.get(stack).cloned()
    }

    /// Whether any stack is locked.
    pub(crate) fn any_held(&self) -> bool {
        !self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.locks
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.stack);
    }
}
