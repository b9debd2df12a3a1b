//! Faults of the simulation: of single calls, throttling, and the death of the caller.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_provider::{ErrorKind, Kind};
use tokio::time::Instant;

/// A fault of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this kind of error and has no effect.
    Refuse(ErrorKind),
    /// It is refused with an error that passes within this time, and has no effect.
    RefuseFor(Duration),
    /// It takes effect, and the answer is lost.
    LoseAnswer,
    /// It never answers, and has no effect.
    Hang,
    /// It takes effect, and never answers.
    HangAfter,
    /// The provider panics.
    Panic,
}

/// The calls with a fault: all calls, unless narrowed.
#[derive(Debug, Clone, Default)]
pub struct When {
    verb: Option<&'static str>,
    kind: Option<Kind>,
    skip: usize,
    times: Option<usize>,
}

impl When {
    /// Calls with this verb: `list`, `create`, `update`, `probe` or `delete`.
    pub fn verb(verb: &'static str) -> Self {
        Self {
            verb: Some(verb),
            ..Self::default()
        }
    }

    /// On resources of this kind only.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Skips the first `number` of them.
    #[must_use]
    pub fn after(mut self, number: usize) -> Self {
        self.skip = number;
        self
    }

    /// At most this many times; otherwise always.
    #[must_use]
    pub fn times(mut self, number: usize) -> Self {
        self.times = Some(number);
        self
    }

    fn fits(&self, verb: &str, kind: &Kind) -> bool {
        self.verb.is_none_or(|own| own == verb) && self.kind.as_ref().is_none_or(|own| own == kind)
    }
}

/// The pending faults.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    by_number: BTreeMap<usize, Fault>,
    rules: Vec<(When, Fault)>,
    /// The number of calls with an effect so far.
    effects: usize,
}

impl Faults {
    pub(super) fn inject(&mut self, nth: usize, fault: Fault) {
        self.by_number.insert(self.effects + nth, fault);
    }

    pub(super) fn add(&mut self, when: When, fault: Fault) {
        self.rules.push((when, fault));
    }

    /// The fault of the next call.
    pub(super) fn next(&mut self, verb: &str, kind: &Kind) -> Option<Fault> {
        let mut fault = None;
        if ["create", "update", "delete"].contains(&verb) {
            fault = self.by_number.remove(&self.effects);
            self.effects += 1;
        }
        for (when, of_rule) in &mut self.rules {
            if !when.fits(verb, kind) {
                continue;
            }
            if when.skip > 0 {
                when.skip -= 1;
            } else if when.times != Some(0) {
                when.times = when.times.map(|times| times - 1);
                fault = fault.or(Some(*of_rule));
            }
        }
        fault
    }
}

/// A token bucket: a burst, and a rate per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self {
            burst: burst.into(),
            per_second: per_second.into(),
            tokens: burst.into(),
            filled: Instant::now(),
        }
    }

    /// Whether one more call is allowed.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let refill = (now - self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + refill).min(self.burst);
        self.filled = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// The way in which the caller is cut off at a call, like a process that dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// Before the call takes effect; other calls in flight have no effect either.
    Before,
    /// After its effect and before its answer; other calls in flight have no further effect.
    After,
    /// All calls in flight take effect, and none is answered.
    Landing,
}

impl Cut {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Landing];
}
