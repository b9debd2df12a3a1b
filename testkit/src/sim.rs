//! A provider of every kind of resource, in memory and in tokio's virtual time.
//!
//! It keeps the rules that hold in any cloud and knows no kind in particular: what is mentioned must be
//! there and usable, what others mention cannot go, making and ending take time, answers get lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use landfall_provider::{
    Error, ErrorKind, Gate, Key, Kind, Live, Probe, Provider, Resource, Result, StackName,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

/// How long things take with one kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// From the call that makes it until it is usable.
    pub create: Duration,
    /// From a change until it is usable again.
    pub update: Duration,
    /// From the call that ends it until it is gone.
    pub delete: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            create: Duration::from_secs(2),
            update: Duration::ZERO,
            delete: Duration::from_secs(1),
        }
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this kind of error and has no effect.
    Refuse(ErrorKind),
    /// It has its effect, and the answer is lost.
    LoseAnswer,
    /// It never answers, and has no effect.
    Hang,
    /// The provider panics.
    Panic,
}

/// One call, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Time since the simulation began.
    pub at: Duration,
    /// `list`, `create`, `update`, `probe` or `delete`.
    pub verb: &'static str,
    /// The kind, and the name where the verb has one.
    pub what: String,
}

/// The provider.
pub struct Sim {
    began: Instant,
    /// From a call to its answer.
    latency: Duration,
    times: BTreeMap<Kind, Times>,
    outputs: BTreeMap<Kind, Value>,
    unique: BTreeSet<Kind>,
    fails: BTreeMap<Key, String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: u64,
    held: BTreeMap<(Kind, String), Held>,
    faults: BTreeMap<usize, Fault>,
    effects: usize,
    calls: Vec<Call>,
    most_at_once: usize,
    at_once: usize,
}

struct Held {
    stack: StackName,
    key: Key,
    spec: Value,
    mentions: Vec<(Kind, String)>,
    gate: Gate,
    after: &'static [Kind],
    usable_at: Instant,
    gone_at: Option<Instant>,
    failed: Option<String>,
}

impl Default for Sim {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            latency: Duration::from_millis(20),
            times: BTreeMap::new(),
            outputs: BTreeMap::new(),
            unique: BTreeSet::new(),
            fails: BTreeMap::new(),
            state: Mutex::default(),
        }
    }
}

impl Sim {
    /// An empty one, whose time begins now: a call takes 20 ms, and every kind the default [`Times`].
    pub fn new() -> Self {
        Self::default()
    }

    /// With these times for one kind.
    #[must_use]
    pub fn times(mut self, kind: Kind, times: Times) -> Self {
        self.times.insert(kind, times);
        self
    }

    /// With this output, as JSON, for every resource of one kind; `null` otherwise.
    #[must_use]
    pub fn output(mut self, kind: Kind, output: Value) -> Self {
        self.outputs.insert(kind, output);
        self
    }

    /// With names of this kind that are unique: a second one of the same key is refused.
    #[must_use]
    pub fn unique(mut self, kind: Kind) -> Self {
        self.unique.insert(kind);
        self
    }

    /// With resources under this key that never become usable, and say why.
    #[must_use]
    pub fn fails(mut self, key: Key, why: &str) -> Self {
        self.fails.insert(key, why.to_owned());
        self
    }

    /// Lets the `nth` call from now on that has an effect (create, update, delete; from 0) go wrong.
    pub fn inject(&self, nth: usize, fault: Fault) {
        let mut state = self.state();
        let nth = state.effects + nth;
        state.faults.insert(nth, fault);
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The calls of one verb, by what they were for, in order.
    pub fn called(&self, verb: &str) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| call.verb == verb)
            .map(|call| call.what)
            .collect()
    }

    /// The most calls that were under way at the same time.
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    /// What there is, of all stacks, as key and id; what is on its way out is left out.
    pub fn held(&self) -> Vec<(Key, String)> {
        let state = self.state();
        let there = state.held.iter().filter(|(_, held)| held.gone_at.is_none());
        there
            .map(|((_, id), held)| (held.key.clone(), id.clone()))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state
            .held
            .retain(|_, held| held.gone_at.is_none_or(|gone_at| gone_at > now));
        state
    }

    fn times_of(&self, kind: &Kind) -> Times {
        self.times.get(kind).copied().unwrap_or_default()
    }

    fn log(&self, verb: &'static str, what: String) {
        let at = Instant::now() - self.began;
        self.state().calls.push(Call { at, verb, what });
    }

    /// A call: logged, counted, taking its time; half of it before its effect and half of it after.
    async fn call<T>(
        &self,
        verb: &'static str,
        what: String,
        effect: impl FnOnce(&mut State) -> Result<T> + Send,
    ) -> Result<T> {
        self.log(verb, what);
        let _busy = Busy::new(self);
        let fault = if ["create", "update", "delete"].contains(&verb) {
            let mut state = self.state();
            let nth = state.effects;
            state.effects += 1;
            state.faults.remove(&nth)
        } else {
            None
        };
        tokio::time::sleep(self.latency / 2).await;
        match fault {
            Some(Fault::Refuse(kind)) => return Err(Error::new(kind, "refused by the simulation")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Panic) => panic!("a simulated mistake"),
            Some(Fault::LoseAnswer) | None => {}
        }
        let outcome = effect(&mut self.state());
        tokio::time::sleep(self.latency / 2).await;
        if fault == Some(Fault::LoseAnswer) {
            return Err(Error::new(ErrorKind::Unavailable, "the answer was lost"));
        }
        outcome
    }

    fn probe_of(&self, kind: &Kind, held: &Held) -> Probe<Value> {
        if held.gone_at.is_some() {
            Probe::Ending("ending".to_owned())
        } else if Instant::now() < held.usable_at {
            Probe::Pending("making".to_owned())
        } else if let Some(why) = &held.failed {
            Probe::Failed(why.clone())
        } else {
            Probe::Usable(self.outputs.get(kind).cloned().unwrap_or(Value::Null))
        }
    }
}

/// Counts a call as long as it is under way, however it ends.
struct Busy<'a>(&'a Sim);

impl<'a> Busy<'a> {
    fn new(sim: &'a Sim) -> Self {
        let mut state = sim.state();
        state.at_once += 1;
        state.most_at_once = state.most_at_once.max(state.at_once);
        Self(sim)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().at_once -= 1;
    }
}

impl State {
    /// The ids that a spec refers to, all of them there and as far as their kind demands.
    fn mentions<R: Resource>(&self, spec: &R) -> Result<Vec<(Kind, String)>> {
        let mut mentions = Vec::new();
        for reference in spec.clone().references() {
            let Some(id) = reference.id() else {
                return Err(Error::new(ErrorKind::Invalid, "a reference without an id"));
            };
            let mention = (reference.kind(), id.to_owned());
            let there = self.held.get(&mention);
            let there = there.filter(|held| held.gone_at.is_none());
            let Some(there) = there else {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format_args!("{id} is not there"),
                ));
            };
            if there.gate == Gate::Usable
                && (Instant::now() < there.usable_at || there.failed.is_some())
            {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format_args!("{id} is not usable"),
                ));
            }
            mentions.push(mention);
        }
        Ok(mentions)
    }

    /// Whoever needs it: by mentioning it, or by coming after its kind when it is the last of that.
    fn user(&self, of: &(Kind, String), stack: &StackName) -> Option<&Key> {
        let is_last = !self
            .held
            .iter()
            .any(|(id, held)| id != of && id.0 == of.0 && held.stack == *stack);
        let user = self.held.values().find(|held| {
            held.mentions.contains(of)
                || (is_last && held.stack == *stack && held.after.contains(&of.0))
        });
        user.map(|held| &held.key)
    }
}

fn misfit(error: serde_json::Error) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "the simulation has no fitting JSON for this kind",
    )
    .caused_by(error)
}

#[async_trait]
impl<R: Resource> Provider<R> for Sim {
    async fn list(&self, stack: &StackName) -> Result<Vec<Live<R>>> {
        let listed = self.call("list", R::KIND.to_string(), |state| {
            let of_kind = state
                .held
                .iter()
                .filter(|((kind, _), held)| *kind == R::KIND && held.stack == *stack);
            of_kind
                .map(|((kind, id), held)| {
                    Ok(Live {
                        id: R::Id::from(id.clone()),
                        name: held.key.name.clone(),
                        spec: R::deserialize(&held.spec).map_err(misfit)?,
                        state: self
                            .probe_of(kind, held)
                            .try_map(|output| R::Output::deserialize(output).map_err(misfit))?,
                    })
                })
                .collect()
        });
        listed.await
    }

    async fn create(&self, stack: &StackName, key: &Key, want: &R) -> Result<R::Id> {
        let spec = serde_json::to_value(want).map_err(misfit)?;
        let created = self.call("create", key.to_string(), |state| {
            let mut same_key = state
                .held
                .iter()
                .filter(|(_, held)| held.stack == *stack && held.key == *key);
            if let Some(((_, id), _)) = same_key.clone().find(|(_, held)| {
                held.spec == spec && held.gone_at.is_none() && held.failed.is_none()
            }) {
                return Ok(R::Id::from(id.clone()));
            }
            if self.unique.contains(&R::KIND) && same_key.next().is_some() {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format_args!("there is a {key} already"),
                ));
            }
            let mentions = state.mentions(want)?;
            state.made += 1;
            let id = format!("{}-{:04}", R::KIND, state.made);
            state.held.insert(
                (R::KIND, id.clone()),
                Held {
                    stack: stack.clone(),
                    key: key.clone(),
                    spec,
                    mentions,
                    gate: R::GATE,
                    after: R::AFTER,
                    usable_at: Instant::now() + self.times_of(&R::KIND).create,
                    gone_at: None,
                    failed: self.fails.get(key).cloned(),
                },
            );
            Ok(R::Id::from(id))
        });
        created.await
    }

    async fn update(&self, live: &Live<R>, want: &R) -> Result<()> {
        let spec = serde_json::to_value(want).map_err(misfit)?;
        let what = Key::new(R::KIND, live.name.clone()).to_string();
        let updated = self.call("update", what, |state| {
            let mentions = state.mentions(want)?;
            let held = state.held.get_mut(&(R::KIND, live.id.to_string()));
            let Some(held) = held.filter(|held| held.gone_at.is_none()) else {
                return Err(Error::new(ErrorKind::NotFound, "it is not there"));
            };
            held.spec = spec;
            held.mentions = mentions;
            held.usable_at = held
                .usable_at
                .max(Instant::now() + self.times_of(&R::KIND).update);
            Ok(())
        });
        updated.await
    }

    async fn probe(&self, id: &R::Id) -> Result<Probe<R::Output>> {
        let probed = self.call("probe", id.to_string(), |state| {
            match state.held.get(&(R::KIND, id.to_string())) {
                None => Ok(Probe::Absent),
                Some(held) => self
                    .probe_of(&R::KIND, held)
                    .try_map(|output| R::Output::deserialize(output).map_err(misfit)),
            }
        });
        probed.await
    }

    async fn delete(&self, live: &Live<R>) -> Result<()> {
        let what = Key::new(R::KIND, live.name.clone()).to_string();
        let deleted = self.call("delete", what, |state| {
            let id = (R::KIND, live.id.to_string());
            let Some(held) = state.held.get(&id) else {
                return Ok(());
            };
            if held.gone_at.is_some() {
                return Ok(());
            }
            if let Some(user) = state.user(&id, &held.stack) {
                return Err(Error::new(
                    ErrorKind::InUse,
                    format_args!("{user} still uses it"),
                ));
            }
            let gone_at = Instant::now() + self.times_of(&R::KIND).delete;
            if let Some(held) = state.held.get_mut(&id) {
                held.gone_at = Some(gone_at);
            }
            Ok(())
        });
        deleted.await
    }
}
