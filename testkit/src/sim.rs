//! The simulation: a provider of every kind of resource, in memory and in tokio's virtual time.
//!
//! It follows rules that hold in any cloud and has no knowledge of single kinds: references must
//! exist and be usable, a referenced resource cannot be deleted, creation and deletion take time,
//! ids are not visible at once, answers get lost, calls are throttled. [`Sim::aws`] has AWS's
//! times.

mod faults;
mod provider;
mod state;
pub(crate) mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landfall_provider::{Error, ErrorKind, Key, Kind, Probe, ResourceName, Result, kind};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::faults::{Cut, Fault, When};
pub use self::times::{Span, Times};

use self::faults::{Bucket, Faults};
use self::state::{Ending, Held, Things};
use self::times::{Rng, mix};

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The time since the simulation began.
    pub at: Duration,
    /// `list`, `create`, `update`, `probe` or `delete`, or the name of an [other](Sim::aside)
    /// operation.
    pub verb: &'static str,
    /// The kind, and the name or id if the verb has one; empty for other operations.
    pub what: String,
    /// The time of the answer; `None` if its caller gave up or was cut off.
    pub answered: Option<Duration>,
    /// The error kind of the answer.
    pub error: Option<ErrorKind>,
}

/// The provider.
pub struct Sim {
    began: Instant,
    /// The time from a call to its answer.
    latency: Duration,
    /// The time from a creation until it is visible to others.
    lag: Duration,
    times: BTreeMap<Kind, Times>,
    dice: Rng,
    outputs: BTreeMap<Kind, Value>,
    unique: BTreeSet<Kind>,
    quotas: BTreeMap<Kind, usize>,
    fails: BTreeMap<Key, String>,
    /// By kind, how long a new one is shown as failed although it is usable.
    stale: BTreeMap<Kind, Duration>,
    state: Mutex<State>,
    line: watch::Sender<Line>,
}

/// Whether calls reach the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    /// No call starts and none is answered; calls in flight take effect.
    Closing,
    /// No call takes effect either.
    Cut,
}

/// The time in which calls in flight may take effect after the caller is gone: longer than any
/// call.
const LANDING: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct State {
    things: Things,
    faults: Faults,
    bucket: Option<Bucket>,
    cut: Option<(usize, Cut)>,
    calls: Vec<Call>,
    most_at_once: usize,
    at_once: usize,
}

impl Default for Sim {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            latency: Duration::from_millis(20),
            lag: Duration::ZERO,
            times: BTreeMap::new(),
            dice: Rng::default(),
            outputs: BTreeMap::new(),
            unique: BTreeSet::new(),
            quotas: BTreeMap::new(),
            fails: BTreeMap::new(),
            stale: BTreeMap::new(),
            state: Mutex::default(),
            line: watch::Sender::new(Line::Open),
        }
    }
}

// === impl Sim: construction ===

impl Sim {
    /// An empty simulation, whose time begins now: a call takes 20 ms, and every kind has the
    /// default [`Times`].
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty simulation with the median times of AWS: the time to create and to delete a
    /// resource of each kind, 100 ms for a call, and half a second until a new id is visible to
    /// others.
    pub fn aws() -> Self {
        Self {
            latency: Duration::from_millis(100),
            lag: Duration::from_millis(500),
            times: times::aws().into_iter().collect(),
            ..Self::default()
        }
    }

    /// Sets the times of one kind.
    #[must_use]
    pub fn times(mut self, kind: Kind, times: Times) -> Self {
        self.times.insert(kind, times);
        self
    }

    /// Draws durations from their spans, by this seed; without one they are the medians.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.dice = Rng(Some(mix(seed)));
        self
    }

    /// Sets the time in which new ids are invisible to others: specs that refer to them are refused
    /// with [`NotFound`](ErrorKind::NotFound), probes find nothing, listings omit them.
    #[must_use]
    pub fn lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// Sets the output, as JSON, of every resource of one kind; `null` otherwise.
    #[must_use]
    pub fn output(mut self, kind: Kind, output: Value) -> Self {
        self.outputs.insert(kind, output);
        self
    }

    /// Sets a valid output for each of Landfall's own kinds with an output.
    #[must_use]
    pub fn outputs(self) -> Self {
        let digest = format!("sha256:{}", "ab".repeat(32));
        self.output(kind::ELASTIC_IP, json!({ "address": "203.0.113.9" }))
            .output(
                kind::NAT_GATEWAY,
                json!({ "public_address": "203.0.113.9" }),
            )
            .output(kind::LAUNCH_TEMPLATE, json!({ "version": 1 }))
            .output(kind::AUTOSCALING_GROUP, json!({ "version": 1 }))
            .output(kind::IMAGE, json!({ "digest": digest }))
            .output(
                kind::INSTANCE,
                json!({ "private_address": "10.0.192.9", "public_address": null }),
            )
            .output(
                kind::LOAD_BALANCER,
                json!({ "dns_name": "digipay.example" }),
            )
            .output(kind::LISTENER, json!({ "url": "http://digipay.example/" }))
    }

    /// Makes names of this kind unique: a second resource with the same key is refused.
    #[must_use]
    pub fn unique(mut self, kind: Kind) -> Self {
        self.unique.insert(kind);
        self
    }

    /// Sets the quota of this kind.
    #[must_use]
    pub fn quota(mut self, kind: Kind, most: usize) -> Self {
        self.quotas.insert(kind, most);
        self
    }

    /// Throttles: allows at most `burst` calls at once and `per_second` of them in the long run;
    /// further calls are refused with [`Throttled`](ErrorKind::Throttled).
    #[must_use]
    pub fn throttle(self, burst: u32, per_second: u32) -> Self {
        self.state().bucket = Some(Bucket::new(burst, per_second));
        self
    }

    /// A new one of this kind is shown as failed for so long after it is usable: a cloud's late answers.
    #[must_use]
    pub fn stale(mut self, kind: Kind, time: Duration) -> Self {
        self.stale.insert(kind, time);
        self
    }

    /// Resources under this key never become usable, for this reason.
    #[must_use]
    pub fn fails(mut self, key: Key, why: &str) -> Self {
        self.fails.insert(key, why.to_owned());
        self
    }

    /// An independent copy of the present state. Its log is empty.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            began: Instant::now(),
            latency: self.latency,
            lag: self.lag,
            times: self.times.clone(),
            dice: self.dice,
            outputs: self.outputs.clone(),
            unique: self.unique.clone(),
            quotas: self.quotas.clone(),
            fails: self.fails.clone(),
            stale: self.stale.clone(),
            state: Mutex::new(State {
                calls: Vec::new(),
                cut: None,
                ..self.state().clone()
            }),
            line: watch::Sender::new(Line::Open),
        }
    }
}

// === impl Sim: faults and manual changes ===

impl Sim {
    /// Injects a fault into the `nth` call from now on that has an effect (create, update, delete;
    /// from 0).
    pub fn inject(&self, nth: usize, fault: Fault) {
        self.state().faults.inject(nth, fault);
    }

    /// Injects a fault into these calls from now on.
    pub fn fault(&self, when: When, fault: Fault) {
        self.state().faults.add(when, fault);
    }

    /// Runs a future with calls to completion, or until it is cut off at its `nth` call (from 0)
    /// and dropped, like a process that dies; then returns `None`. Afterwards the simulation
    /// answers again.
    pub async fn until_cut<T>(
        &self,
        nth: usize,
        cut: Cut,
        run: impl Future<Output = T>,
    ) -> Option<T> {
        {
            let mut state = self.state();
            state.cut = Some((state.calls.len() + nth, cut));
        }
        let mut line = self.line.subscribe();
        let closed = async {
            // The sender lives as long as this value.
            let closing = line.wait_for(|line| *line != Line::Open).await;
            let closing = closing.is_ok_and(|line| *line == Line::Closing);
            if closing {
                tokio::time::sleep(LANDING).await;
            }
        };
        let done = tokio::select! {
            biased;
            done = run => Some(done),
            () = closed => None,
        };
        self.state().cut = None;
        self.line.send_replace(Line::Open);
        done
    }

    /// Deletes a resource at once, even if it is in use: a manual change in a console.
    pub fn remove(&self, key: &Key) {
        let now = Instant::now();
        let mut state = self.state();
        for id in state.things.ids(key) {
            state.things.end(
                &id,
                Ending {
                    gone_at: now,
                    free_at: now,
                },
            );
        }
    }

    /// Renames a resource in its stack by hand; references to it stay valid.
    pub fn rename(&self, key: &Key, name: ResourceName) {
        let mut state = self.state();
        for id in state.things.ids(key) {
            state.things.rename(&id, name.clone());
        }
    }

    /// Removes a resource's tags, so that its stack no longer finds it; its name stays taken.
    pub fn untag(&self, key: &Key) {
        let mut state = self.state();
        for id in state.things.ids(key) {
            if let Some(held) = state.things.get_mut(&id) {
                held.untagged = true;
            }
        }
    }
}

// === impl Sim: observations ===

impl Sim {
    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The subjects of the calls of one verb, in order.
    pub fn called(&self, verb: &str) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| call.verb == verb)
            .map(|call| call.what)
            .collect()
    }

    /// The maximum number of concurrent calls.
    pub fn most_at_once(&self) -> usize {
        self.state().most_at_once
    }

    /// The resources of all stacks, as key and id, except those being deleted.
    pub fn held(&self) -> Vec<(Key, String)> {
        let state = self.state();
        let there = state.things.all().filter(|(_, held)| held.stays());
        there
            .map(|((_, id), held)| (held.key.clone(), id.clone()))
            .collect()
    }

    /// The present spec of a resource, by its id.
    pub fn spec(&self, id: &str) -> Option<Value> {
        let state = self.state();
        let mut there = state.things.all().filter(|(_, held)| held.stays());
        let (_, held) = there.find(|((_, own), _)| own == id)?;
        Some(held.spec.clone())
    }

    /// The permanent resources and their specs, of all stacks: one line each, with keys instead of
    /// ids, in order. Two simulations with the same content have the same lines.
    pub fn lines(&self) -> Vec<String> {
        self.state().things.lines()
    }

    /// The time since the start at which a resource is or was usable; of several the last.
    pub fn usable_at(&self, key: &Key) -> Option<Duration> {
        let state = self.state();
        let under = state.things.all().filter(|(_, held)| held.key == *key);
        let usable = under.filter(|(_, held)| held.stays() && held.failed.is_none());
        usable
            .map(|(_, held)| held.usable_at.saturating_duration_since(self.began))
            .max()
    }

    /// The time to create the resource under this key: until the call is answered, and until it is
    /// usable.
    pub fn making(&self, key: &Key) -> (Duration, Duration) {
        let times = self.times_of(&key.kind);
        let call = self.latency.max(self.dice.draw(times.call, key, "call"));
        (call, self.dice.draw(times.create, key, "create").max(call))
    }

    /// The time to delete the resource under this key: until it is gone, and from then on until its
    /// leftovers use none of its references any more.
    pub fn ending(&self, key: &Key) -> (Duration, Duration) {
        let times = self.times_of(&key.kind);
        (
            self.dice.draw(times.delete, key, "delete"),
            self.dice.draw(times.linger, key, "linger"),
        )
    }

    fn times_of(&self, kind: &Kind) -> Times {
        self.times.get(kind).copied().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.things.expire(Instant::now());
        state
    }

    fn since_began(&self) -> Duration {
        Instant::now() - self.began
    }

    fn probe_of(&self, kind: &Kind, held: &Held) -> Probe<Value> {
        if !held.stays() {
            Probe::Ending("ending".to_owned())
        } else if Instant::now() < held.usable_at {
            Probe::Pending("making".to_owned())
        } else if let Some(why) = &held.failed {
            Probe::Failed(why.clone())
        } else if self.is_stale(kind, held) {
            Probe::Failed("an old answer".to_owned())
        } else {
            Probe::Usable(self.outputs.get(kind).cloned().unwrap_or(Value::Null))
        }
    }

    fn is_stale(&self, kind: &Kind, held: &Held) -> bool {
        let stale = self.stale.get(kind);
        stale.is_some_and(|time| Instant::now() < held.usable_at + *time)
    }

    /// Checks the quota for one more resource of a kind.
    fn within_quota(&self, things: &Things, kind: &Kind) -> Result<()> {
        let Some(&most) = self.quotas.get(kind) else {
            return Ok(());
        };
        let now = Instant::now();
        let there = things.of_kind(kind).filter(|(_, held)| !held.is_gone(now));
        if there.count() < most {
            return Ok(());
        }
        let why = format!("the quota of {most} for {kind} is used up");
        Err(Error::new(ErrorKind::Limit, why))
    }
}
