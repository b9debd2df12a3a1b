//! The session's cache of its own calls, which saves repeated calls.
//!
//! A deploy makes a hundred calls, and AWS throttles; a third of them would ask for values that the
//! previous call returned. The cache ends with the session, and it is optional: on a miss, the
//! caller asks AWS.

use std::any::TypeId;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landfall_provider::{Key, Kind, Probe, Resource, ResourceName, StackName};

use crate::name::token;
use crate::session::Aws;
use crate::store::Memory;

/// How long a listing proves the absence of a name: others may use the account.
const LISTING_HOLDS: Duration = Duration::from_secs(600);
/// How long an answer is valid as a resource's state.
const ANSWER_HOLDS: Duration = Duration::from_secs(10);

impl Aws {
    /// Records the result of a complete listing of a kind.
    pub fn listed(
        &self,
        stack: &StackName,
        kind: Kind,
        names: impl IntoIterator<Item = ResourceName>,
    ) {
        let names = (Instant::now(), names.into_iter().collect());
        self.memory().names.insert((stack.clone(), kind), names);
    }

    /// Whether a stack may hold a resource under this key, so that a create has to look first.
    ///
    /// `false` is returned once, after a listing without it: that caller creates, and if the answer
    /// is lost, the next attempt looks.
    pub fn may_hold(&self, stack: &StackName, key: &Key) -> bool {
        match self
            .memory()
            .names
            .get_mut(&(stack.clone(), key.kind.clone()))
        {
            Some((at, names)) if at.elapsed() < LISTING_HOLDS => !names.insert(key.name.clone()),
            _ => true,
        }
    }

    /// An idempotency token for creating this resource: the same until
    /// [`answered`](Self::answered), and different from that of any earlier resource, because AWS
    /// would answer with the earlier one's id.
    pub fn token_for(&self, stack: &StackName, key: &Key) -> String {
        let fresh = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or_default().as_nanos().to_string();
            token([stack.as_str(), &key.to_string(), &now])
        };
        self.memory()
            .tokens
            .entry((stack.clone(), key.clone()))
            .or_insert_with(fresh)
            .clone()
    }

    /// Records that a create with a [token](Self::token_for) was answered.
    pub fn answered(&self, stack: &StackName, key: &Key) {
        self.memory().tokens.remove(&(stack.clone(), key.clone()));
    }

    /// Records that a create has started this resource and could not finish it: the next attempt
    /// continues.
    pub fn begun(&self, stack: &StackName, key: &Key, id: &str) {
        let key = (stack.clone(), key.clone());
        self.memory().begun.insert(key, id.to_owned());
    }

    /// Takes the id of a [begun](Self::begun) resource out of the cache.
    pub fn take_begun(&self, stack: &StackName, key: &Key) -> Option<String> {
        self.memory().begun.remove(&(stack.clone(), key.clone()))
    }

    /// Records the state of a resource from the answer to a call: the first probe needs no call.
    pub fn seen<R: Resource>(&self, id: &R::Id, state: Probe<R::Output>) {
        let id = (R::KIND, id.as_ref().to_owned());
        self.memory()
            .states
            .insert(id, (Instant::now(), Box::new(state)));
    }

    /// The state that was [recorded](Self::seen), returned once, because it may change.
    pub fn first_look<R: Resource>(&self, id: &R::Id) -> Option<Probe<R::Output>> {
        let id = (R::KIND, id.as_ref().to_owned());
        let (at, state) = self.memory().states.remove(&id)?;
        let state = state.downcast().ok()?;
        (at.elapsed() < ANSWER_HOLDS).then_some(*state)
    }

    /// The last [recorded](Self::seen) state, returned every time: for resources that only this
    /// session changes.
    pub fn last_seen<R: Resource>(&self, id: &R::Id) -> Option<Probe<R::Output>> {
        let id = (R::KIND, id.as_ref().to_owned());
        let memory = self.memory();
        let (at, state) = memory.states.get(&id)?;
        let state: &Probe<R::Output> = state.downcast_ref()?;
        (at.elapsed() < ANSWER_HOLDS).then(|| state.clone())
    }

    /// Records further values of an answer, such as the ids of associations, for a later call.
    pub fn note<T: Send + Sync + 'static>(&self, of: &str, note: T) {
        let of = (TypeId::of::<T>(), of.to_owned());
        let note = (Instant::now(), Box::new(note) as Box<_>);
        self.memory().notes.insert(of, note);
    }

    /// Takes a [recorded](Self::note) value out of the cache: a caller that finds it outdated asks
    /// AWS.
    pub fn take_note<T: Send + Sync + 'static>(&self, of: &str) -> Option<T> {
        let of = (TypeId::of::<T>(), of.to_owned());
        let (at, note) = self.memory().notes.remove(&of)?;
        let note: T = *note.downcast().ok()?;
        (at.elapsed() < LISTING_HOLDS).then_some(note)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.locked_memory()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
