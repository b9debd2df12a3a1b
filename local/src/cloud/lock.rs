//! One change to a stack at a time: a lock is held as long as its connection is open.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use landfall_provider::{Error, ErrorKind, Holder, Result, StackName};

/// Who holds which stack.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<BTreeMap<StackName, (Holder, SystemTime)>>);

/// A held lock; it ends with this.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    locks: &'a Locks,
    stack: StackName,
}

impl Locks {
    /// Takes the lock of a stack, or says who has it.
    pub(crate) fn take(&self, stack: StackName, holder: Holder) -> Result<Held<'_>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((holder, since)) = locks.get(&stack) {
            let seconds = since.elapsed().unwrap_or_default().as_secs();
            return Err(Error::new(
                ErrorKind::InUse,
                format_args!(
                    "another {} of stack {stack} is under way: {}, process {}, for {seconds} s",
                    holder.doing, holder.who, holder.pid
                ),
            )
            .hint("wait until it is done, or stop it; its lock ends with its process"));
        }
        locks.insert(stack.clone(), (holder, SystemTime::now()));
        Ok(Held { locks: self, stack })
    }

    /// Whether anybody holds any stack.
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
