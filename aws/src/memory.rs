//! What a session knows from its own calls, so that it need not ask again.
//!
//! A deploy is a hundred calls, and AWS throttles; a third of them would ask for what the call before has said.
//! None of this outlives the session, and nothing is lost with it: who knows nothing asks.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landfall_provider::{Key, Kind, Probe, Resource, ResourceName, StackName};

use crate::name::token;
use crate::session::Aws;

/// How long a listing says what is not there: somebody else may use the account.
const LISTING_HOLDS: Duration = Duration::from_secs(600);
/// How long an answer says how something is.
const ANSWER_HOLDS: Duration = Duration::from_secs(10);

/// A session's own knowledge.
#[derive(Default)]
pub(crate) struct Memory {
    /// By kind, the names that a listing has shown, and those that were tried to be created since.
    names: BTreeMap<(StackName, Kind), (Instant, BTreeSet<ResourceName>)>,
    /// By kind and id, how a resource is by the answer to the call that made or ended it.
    states: BTreeMap<(Kind, String), (Instant, Box<dyn Any + Send + Sync>)>,
    /// The tokens of creates that were not answered yet.
    tokens: BTreeMap<(StackName, Key), String>,
    /// What answers told beside the specs, by its type and whose it is.
    notes: BTreeMap<(TypeId, String), (Instant, Box<dyn Any + Send + Sync>)>,
    /// The ids of what creates have made and not finished.
    begun: BTreeMap<(StackName, Key), String>,
}

impl Aws {
    /// Notes what a whole listing of a kind has shown.
    pub fn listed(
        &self,
        stack: &StackName,
        kind: Kind,
        names: impl IntoIterator<Item = ResourceName>,
    ) {
        let names = (Instant::now(), names.into_iter().collect());
        self.memory().names.insert((stack.clone(), kind), names);
    }

    /// Whether a stack may hold something under this key, so that a create has to look first.
    ///
    /// `false` is said once, after a listing without it: whoever hears it creates, and if the answer is lost, the
    /// next try looks.
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

    /// An idempotency token for creating this: the same until [`answered`](Self::answered), and never that
    /// of an earlier one, which AWS would answer with the earlier one's id.
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

    /// Notes that a create with a [token](Self::token_for) was answered.
    pub fn answered(&self, stack: &StackName, key: &Key) {
        self.memory().tokens.remove(&(stack.clone(), key.clone()));
    }

    /// Notes that a create has made this and could not finish it: the next try is to go on with it.
    pub fn begun(&self, stack: &StackName, key: &Key, id: &str) {
        let key = (stack.clone(), key.clone());
        self.memory().begun.insert(key, id.to_owned());
    }

    /// The id of what was [begun](Self::begun), which is not noted any longer.
    pub fn take_begun(&self, stack: &StackName, key: &Key) -> Option<String> {
        self.memory().begun.remove(&(stack.clone(), key.clone()))
    }

    /// Notes how a resource is by the answer to a call: the first look at it need not ask.
    pub fn seen<R: Resource>(&self, id: &R::Id, state: Probe<R::Output>) {
        let id = (R::KIND, id.as_ref().to_owned());
        self.memory()
            .states
            .insert(id, (Instant::now(), Box::new(state)));
    }

    /// How a resource was [seen](Self::seen); said once, since it may be otherwise by now.
    pub fn first_look<R: Resource>(&self, id: &R::Id) -> Option<Probe<R::Output>> {
        let id = (R::KIND, id.as_ref().to_owned());
        let (at, state) = self.memory().states.remove(&id)?;
        let state = state.downcast().ok()?;
        (at.elapsed() < ANSWER_HOLDS).then_some(*state)
    }

    /// How a resource was [seen](Self::seen) last, said as often as it is asked: for what only this session changes.
    pub fn last_seen<R: Resource>(&self, id: &R::Id) -> Option<Probe<R::Output>> {
        let id = (R::KIND, id.as_ref().to_owned());
        let memory = self.memory();
        let (at, state) = memory.states.get(&id)?;
        let state: &Probe<R::Output> = state.downcast_ref()?;
        (at.elapsed() < ANSWER_HOLDS).then(|| state.clone())
    }

    /// Notes what an answer told beside the specs, such as the ids of associations, which a later call needs.
    pub fn note<T: Send + Sync + 'static>(&self, of: &str, note: T) {
        let of = (TypeId::of::<T>(), of.to_owned());
        let note = (Instant::now(), Box::new(note) as Box<_>);
        self.memory().notes.insert(of, note);
    }

    /// What was [noted](Self::note), which is not noted any longer: whoever finds it outdated asks.
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
