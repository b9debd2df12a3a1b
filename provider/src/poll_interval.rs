//! The interval at which the provider's resources are probed.

use std::time::Duration;

/// The interval between probes of a resource that is waited for. It starts short and grows. It
/// becomes short again once the resource is due, for kinds with a [typical create
/// time](crate::Resource::TYPICAL_CREATE_TIME).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollInterval {
    /// The pause before the first probe.
    pub first: Duration,
    /// The longest pause between probes.
    pub longest: Duration,
}

impl Default for PollInterval {
    /// For a cloud that takes seconds and throttles calls: from 0.5 s to 10 s.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(10),
        }
    }
}

impl PollInterval {
    /// For a provider on the same machine: from 5 ms to 250 ms.
    pub const LOCAL: Self = Self {
        first: Duration::from_millis(5),
        longest: Duration::from_millis(250),
    };

    pub(crate) fn next(self, last: Duration) -> Duration {
        (last * 3 / 2).min(self.longest)
    }

    /// The pause before the next probe, given the typical create time and the time since creation
    /// started. Once the resource is due, and until it has taken twice the typical time, probes are
    /// at most one fiftieth of the typical time apart.
    pub(crate) fn around(
        self,
        typical_create_time: Duration,
        waited: Duration,
        pause: Duration,
    ) -> Duration {
        if waited < typical_create_time {
            pause.min(typical_create_time - waited)
        } else if waited < typical_create_time * 2 {
            (typical_create_time / 50).max(self.first).min(self.longest)
        } else {
            pause
        }
    }

    /// How long calls may stay unanswered or throttled before that is a failure: a minute for a
    /// cloud, little more than a second for this machine, where no answer means something else.
    pub(crate) fn time_limit(self) -> Duration {
        self.longest * 6
    }
}
