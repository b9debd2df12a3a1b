//! Faults on the way to AWS, from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sim::times::mix;

/// Faults of calls, by their number: the same seed gives the same faults.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    throttled_percent: u64,
    lost_every: u64,
    calls: AtomicU64,
}

/// The fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Spared,
    /// Refused before it took effect.
    Throttled,
    /// Executed, and its answer lost.
    Lost,
}

impl Faults {
    /// No faults yet.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            throttled_percent: 0,
            lost_every: 0,
            calls: AtomicU64::new(0),
        }
    }

    /// This percentage of calls is throttled, before they take effect.
    #[must_use]
    pub fn throttle(mut self, percent: u8) -> Self {
        self.throttled_percent = u64::from(percent);
        self
    }

    /// The answer of every `n`-th call that was not refused is lost after the call took effect.
    #[must_use]
    pub fn lose_every(mut self, n: u64) -> Self {
        self.lost_every = n;
        self
    }

    pub(super) fn next(&self) -> Fate {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if mix(self.seed ^ mix(number)) % 100 < self.throttled_percent {
            Fate::Throttled
        } else if self.lost_every > 0 && number.is_multiple_of(self.lost_every) {
            Fate::Lost
        } else {
            Fate::Spared
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(faults: &Faults, fate: Fate) -> usize {
        (0..1000).filter(|_| faults.next() == fate).count()
    }

    #[test]
    fn faults_come_as_often_as_was_said() {
        let throttled = count(&Faults::seeded(7).throttle(30), Fate::Throttled);
        assert!((260..340).contains(&throttled), "{throttled}");
        assert_eq!(count(&Faults::seeded(7).lose_every(10), Fate::Lost), 100);
        assert_eq!(count(&Faults::seeded(7), Fate::Spared), 1000);
    }

    #[test]
    fn a_seed_gives_the_same_faults_again() {
        let fates = |seed| {
            let faults = Faults::seeded(seed).throttle(30).lose_every(7);
            (0..50).map(|_| faults.next()).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
    }
}
