//! A provider of every kind of resource, in memory and in tokio's virtual time.
//!
//! It keeps the rules that hold in any cloud and knows no kind in particular: what is mentioned must be
//! there and usable, what others mention cannot go, making and ending take time, ids are not seen at once,
//! answers get lost, calls are too many. [`Sim::aws`] has AWS's times.

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

/// One call, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Time since the simulation began.
    pub at: Duration,
    /// `list`, `create`, `update`, `probe` or `delete`, or what is done [aside](Sim::aside).
    pub verb: &'static str,
    /// The kind, and the name or id where the verb has one; nothing for what is done aside.
    pub what: String,
    /// When it was answered; never, if its caller gave up or was cut off.
    pub answered: Option<Duration>,
    /// The kind of error that it was answered with.
    pub error: Option<ErrorKind>,
}

/// The provider.
pub struct Sim {
    began: Instant,
    /// From a call to its answer.
    latency: Duration,
    /// From a creation until others see it.
    lag: Duration,
    times: BTreeMap<Kind, Times>,
    dice: Rng,
    outputs: BTreeMap<Kind, Value>,
    unique: BTreeSet<Kind>,
    quotas: BTreeMap<Kind, usize>,
    fails: BTreeMap<Key, String>,
    state: Mutex<State>,
    line: watch::Sender<Line>,
}

/// Whether the caller is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    /// Nothing begins any more and nothing is answered; what is under way has its effect.
    Closing,
    /// Nor has anything an effect.
    Cut,
}

/// For how long what is under way may go on having its effect after the caller is gone: longer than any call.
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
            state: Mutex::default(),
            line: watch::Sender::new(Line::Open),
        }
    }
}

// === impl Sim: how it is put together ===

impl Sim {
    /// An empty one, whose time begins now: a call takes 20 ms, and every kind the default [`Times`].
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one with the median times of AWS: what it takes to make and to end a resource of each kind,
    /// 100 ms for a call, and half a second until a new id is seen by others.
    pub fn aws() -> Self {
        Self {
            latency: Duration::from_millis(100),
            lag: Duration::from_millis(500),
            times: times::aws().into_iter().collect(),
            ..Self::default()
        }
    }

    /// With these times for one kind.
    #[must_use]
    pub fn times(mut self, kind: Kind, times: Times) -> Self {
        self.times.insert(kind, times);
        self
    }

    /// With durations drawn from their spans, by this seed; without one they are the medians.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.dice = Rng(Some(mix(seed)));
        self
    }

    /// With new ids that others do not find for so long: specs that refer to them are refused with
    /// [`NotFound`](ErrorKind::NotFound), probes see nothing, listings leave them out.
    #[must_use]
    pub fn lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// With this output, as JSON, for every resource of one kind; `null` otherwise.
    #[must_use]
    pub fn output(mut self, kind: Kind, output: Value) -> Self {
        self.outputs.insert(kind, output);
        self
    }

    /// With an output that fits for every kind of Landfall's own that has one.
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

    /// With names of this kind that are unique: a second one of the same key is refused.
    #[must_use]
    pub fn unique(mut self, kind: Kind) -> Self {
        self.unique.insert(kind);
        self
    }

    /// With no more than so many of this kind.
    #[must_use]
    pub fn quota(mut self, kind: Kind, most: usize) -> Self {
        self.quotas.insert(kind, most);
        self
    }

    /// With no more than `burst` calls at once and `per_second` of them in the long run; those beyond are
    /// refused with [`Throttled`](ErrorKind::Throttled).
    #[must_use]
    pub fn throttle(self, burst: u32, per_second: u32) -> Self {
        self.state().bucket = Some(Bucket::new(burst, per_second));
        self
    }

    /// With resources under this key that never become usable, and say why.
    #[must_use]
    pub fn fails(mut self, key: Key, why: &str) -> Self {
        self.fails.insert(key, why.to_owned());
        self
    }

    /// Another one that holds the same, and goes on from here by itself. Its log is empty.
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
            state: Mutex::new(State {
                calls: Vec::new(),
                cut: None,
                ..self.state().clone()
            }),
            line: watch::Sender::new(Line::Open),
        }
    }
}

// === impl Sim: what is done to it ===

impl Sim {
    /// Lets the `nth` call from now on that has an effect (create, update, delete; from 0) go wrong.
    pub fn inject(&self, nth: usize, fault: Fault) {
        self.state().faults.inject(nth, fault);
    }

    /// Lets these calls go wrong from now on.
    pub fn fault(&self, when: When, fault: Fault) {
        self.state().faults.add(when, fault);
    }

    /// Runs something that calls it until it is done, or until it is cut off at its `nth` call (from 0) and
    /// dropped, as a process is that dies; then `None`. Afterwards it answers again.
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
            // The sender lives as long as this does.
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

    /// Ends a resource at once and by hand, whoever needs it: what somebody does in a console.
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

    /// Gives a resource another name in its stack by hand; whoever refers to it still does.
    pub fn rename(&self, key: &Key, name: ResourceName) {
        let mut state = self.state();
        for id in state.things.ids(key) {
            state.things.rename(&id, name.clone());
        }
    }

    /// Takes its tags from a resource, so that its stack no longer finds it; its name stays taken.
    pub fn untag(&self, key: &Key) {
        let mut state = self.state();
        for id in state.things.ids(key) {
            if let Some(held) = state.things.get_mut(&id) {
                held.untagged = true;
            }
        }
    }
}

// === impl Sim: what is seen of it ===

impl Sim {
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
        let there = state.things.all().filter(|(_, held)| held.stays());
        there
            .map(|((_, id), held)| (held.key.clone(), id.clone()))
            .collect()
    }

    /// What a resource was made of, or changed to since, by its id.
    pub fn spec(&self, id: &str) -> Option<Value> {
        let state = self.state();
        let mut there = state.things.all().filter(|(_, held)| held.stays());
        let (_, held) = there.find(|((_, own), _)| own == id)?;
        Some(held.spec.clone())
    }

    /// What stays and what it is, of all stacks: a line for each, with keys in the place of ids, in order.
    /// Two simulations that hold the same have the same lines.
    pub fn lines(&self) -> Vec<String> {
        self.state().things.lines()
    }

    /// From when on a resource is or was usable, since the simulation began; of several the last.
    pub fn usable_at(&self, key: &Key) -> Option<Duration> {
        let state = self.state();
        let under = state.things.all().filter(|(_, held)| held.key == *key);
        let usable = under.filter(|(_, held)| held.stays() && held.failed.is_none());
        usable
            .map(|(_, held)| held.usable_at.saturating_duration_since(self.began))
            .max()
    }

    /// How long it takes to make the resource under this key: until the call is answered, and until it is usable.
    pub fn making(&self, key: &Key) -> (Duration, Duration) {
        let times = self.times_of(&key.kind);
        let call = self.latency.max(self.dice.draw(times.call, key, "call"));
        (call, self.dice.draw(times.create, key, "create").max(call))
    }

    /// How long it takes to end the resource under this key: until it is gone, and from then on until nothing
    /// that it mentioned is in use by what it has left behind.
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
        } else {
            Probe::Usable(self.outputs.get(kind).cloned().unwrap_or(Value::Null))
        }
    }

    /// Whether one more of a kind may be made.
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
