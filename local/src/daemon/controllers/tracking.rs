//! Target tracking: the capacity for a metric, as a pure function of measurements.
//!
//! Like Auto Scaling, with shorter times: scale-out after ten seconds above the target, scale-in
//! after thirty seconds in which every ten seconds were clearly below it.
//! <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The interval of measurements.
pub(in crate::daemon) const EVERY: Duration = Duration::from_secs(1);

/// The window of an average. AWS: three minutes.
pub(in crate::daemon) const WINDOW: Duration = Duration::from_secs(10);

/// The time below the target before a scale-in. AWS: fifteen minutes.
pub(in crate::daemon) const CALM: Duration = Duration::from_secs(30);

/// The maximum load after a scale-in, as a part of the target. AWS has the same margin of one tenth.
const MARGIN: f64 = 0.9;

/// A measurement of a group's load since the previous one.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    /// The sum over all instances: requests per minute, or percent of a processor.
    load: f64,
}

/// The recent measurements of a policy.
#[derive(Debug)]
pub(in crate::daemon) struct Track {
    /// The target value per instance.
    target: f64,
    samples: VecDeque<Sample>,
}

/// The proposal of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) enum Proposal {
    /// Not known yet, or no change.
    Keep,
    /// Scale out.
    Out(u32),
    /// Scale in.
    In(u32),
}

impl Track {
    pub(in crate::daemon) fn new(target: f64) -> Self {
        Self {
            target,
            samples: VecDeque::new(),
        }
    }

    /// Adds the total load of all instances since the last measurement.
    pub(in crate::daemon) fn measure(&mut self, at: Instant, load: f64) {
        self.samples.push_back(Sample { at, load });
        // A little longer than the window, because measurements may be late.
        while let Some(first) = self.samples.front()
            && at.duration_since(first.at) > WINDOW + CALM + 5 * EVERY
        {
            self.samples.pop_front();
        }
    }

    /// The mean of the window that ends at this time; `None` without a complete window.
    fn mean(&self, end: Instant) -> Option<f64> {
        let start = end.checked_sub(WINDOW)?;
        // A sample describes the time before it, so a sample at the start of the window is outside.
        self.samples.front().filter(|first| first.at <= start)?;
        let inside = self
            .samples
            .iter()
            .filter(|sample| sample.at > start && sample.at <= end);
        let (count, sum) = inside.fold((0_u32, 0.0), |(count, sum), sample| {
            (count + 1, sum + sample.load)
        });
        (count > 0).then(|| sum / f64::from(count))
    }

    /// The highest mean of the recent windows; `None` without enough windows.
    fn peak(&self) -> Option<f64> {
        let calm = self.samples.back()?.at.checked_sub(CALM)?;
        let ended = self.samples.iter().filter(|sample| sample.at >= calm);
        ended
            .map(|sample| self.mean(sample.at))
            .try_fold(0.0_f64, |peak, mean| Some(peak.max(mean?)))
    }

    /// The average load per instance.
    pub(in crate::daemon) fn each(&self, proposal: Proposal, instances: u32) -> Option<f64> {
        let load = match proposal {
            Proposal::In(_) => self.peak()?,
            Proposal::Out(_) | Proposal::Keep => self.mean(self.samples.back()?.at)?,
        };
        Some(load / f64::from(instances.max(1)))
    }

    /// The capacity that the policy proposes, from the current capacity and the time of its last change.
    pub(in crate::daemon) fn proposal(&self, capacity: u32, stable_since: Instant) -> Proposal {
        let Some(now) = self.samples.back().map(|last| last.at) else {
            return Proposal::Keep;
        };
        let Some(load) = self.mean(now) else {
            return Proposal::Keep;
        };
        let out = instances(load / self.target);
        if out > capacity {
            return Proposal::Out(out);
        }
        if now.duration_since(stable_since) < CALM {
            return Proposal::Keep;
        }
        let needed = self
            .peak()
            .map(|peak| instances(peak / (self.target * MARGIN)));
        match needed {
            Some(needed) if needed < capacity => Proposal::In(needed),
            _ => Proposal::Keep,
        }
    }
}

/// Combines the proposals of all policies; the highest wins. So a scale-in happens
/// only when every policy proposes one.
pub(in crate::daemon) fn agree(
    proposals: &[Proposal],
    capacity: u32,
    min: u32,
    max: u32,
) -> Option<(usize, u32)> {
    let number = |proposal: &Proposal| match proposal {
        Proposal::Keep => capacity,
        Proposal::Out(number) | Proposal::In(number) => *number,
    };
    let (index, proposal) = proposals
        .iter()
        .enumerate()
        .max_by_key(|(_, proposal)| number(proposal))?;
    let agreed = number(proposal).clamp(min, max);
    (agreed != capacity).then_some((index, agreed))
}

/// Rounds up to whole instances.
fn instances(load: f64) -> u32 {
    // Rounding errors must not add an instance.
    let whole = (load - 1e-9).ceil().max(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and casts saturate"
    )]
    let number = whole as u32;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A track with these loads, measured once a second, the last one now.
    fn track(target: f64, loads: &[f64]) -> (Track, Instant) {
        let start = Instant::now();
        let mut track = Track::new(target);
        let mut now = start;
        for load in loads {
            now += EVERY;
            track.measure(now, *load);
        }
        (track, now)
    }

    fn seconds(load: f64, seconds: usize) -> Vec<f64> {
        vec![load; seconds]
    }

    /// The proposal after these seconds of each load, without a change since the beginning.
    fn proposal(target: f64, capacity: u32, loads: &[(f64, usize)]) -> Proposal {
        let loads: Vec<f64> = loads
            .iter()
            .flat_map(|&(load, time)| seconds(load, time))
            .collect();
        let (track, now) = track(target, &loads);
        track.proposal(capacity, now - Duration::from_secs(loads.len() as u64))
    }

    #[test]
    fn the_size_follows_the_load() {
        // The target is 100 per instance; the load is the sum.
        type Case<'a> = (&'a str, u32, &'a [(f64, usize)], Proposal);
        let cases: &[Case<'_>] = &[
            ("nothing measured", 2, &[], Proposal::Keep),
            ("not a whole window yet", 2, &[(900.0, 9)], Proposal::Keep),
            ("above the target", 2, &[(310.0, 12)], Proposal::Out(4)),
            (
                "a whole number is not rounded up",
                2,
                &[(300.0, 12)],
                Proposal::Out(3),
            ),
            ("at the target", 2, &[(200.0, 60)], Proposal::Keep),
            (
                "a moment's peak",
                2,
                &[(100.0, 30), (700.0, 1)],
                Proposal::Keep,
            ),
            (
                "a peak that lasts",
                2,
                &[(100.0, 30), (700.0, 8)],
                Proposal::Out(6),
            ),
            ("below, within the margin", 2, &[(95.0, 60)], Proposal::Keep),
            ("below the margin", 2, &[(89.0, 60)], Proposal::In(1)),
            (
                "not for long enough",
                4,
                &[(400.0, 20), (100.0, 25)],
                Proposal::Keep,
            ),
            (
                "for long enough",
                4,
                &[(400.0, 20), (100.0, 45)],
                Proposal::In(2),
            ),
            (
                "a peak in between",
                4,
                &[(100.0, 20), (400.0, 10), (100.0, 15)],
                Proposal::Keep,
            ),
            ("no load at all", 4, &[(0.0, 60)], Proposal::In(0)),
        ];
        for (what, capacity, loads, expected) in cases {
            assert_eq!(proposal(100.0, *capacity, loads), *expected, "{what}");
        }
    }

    #[test]
    fn cooldown_follows_each_change() {
        let (track, now) = track(100.0, &seconds(50.0, 60));
        assert_eq!(track.proposal(4, now - CALM), Proposal::In(1));
        assert_eq!(track.proposal(4, now - CALM + EVERY), Proposal::Keep);
        // A scale-out may add several at once.
        let (track, now) = self::track(100.0, &seconds(900.0, 12));
        assert_eq!(track.proposal(4, now), Proposal::Out(9));
    }

    #[test]
    fn of_several_policies_the_highest_wins_within_the_limits() {
        use Proposal::{In, Keep, Out};
        type Case<'a> = (&'a [Proposal], Option<(usize, u32)>);
        let cases: &[Case<'_>] = &[
            (&[], None),
            (&[Keep], None),
            (&[Out(3)], Some((0, 3))),
            (&[Out(3), Out(4)], Some((1, 4))),
            (&[Out(9), Out(4)], Some((0, 6))),
            (&[In(1), Out(4)], Some((1, 4))),
            (&[In(1), Keep], None),
            (&[In(1)], Some((0, 1))),
            (&[In(0)], Some((0, 1))),
        ];
        for (proposals, expected) in cases {
            assert_eq!(agree(proposals, 2, 1, 6), *expected, "{proposals:?}");
        }
    }

    #[test]
    fn what_it_scales_to_bears_the_load_and_is_not_scaled_again() {
        // For any load, target and size: after one scale-out or scale-in, there is nothing more to do.
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..2_000 {
            let (load, target) = (random.f64() * 1_000.0, 1.0 + random.f64() * 99.0);
            let capacity = random.u32(1..=50);
            let (track, now) = track(target, &seconds(load, 60));
            let stable_since = now - Duration::from_secs(60);
            let (Proposal::Out(next) | Proposal::In(next)) = track.proposal(capacity, stable_since)
            else {
                assert!(load <= target * f64::from(capacity) + 1e-6);
                continue;
            };
            assert!(
                load <= target * f64::from(next) + 1e-6,
                "{load} {target} {next}"
            );
            assert_eq!(
                track.proposal(next, stable_since),
                Proposal::Keep,
                "{load} {target} {next}"
            );
        }
    }
}
