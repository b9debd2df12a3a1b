//! The durations of the simulation: medians, and their spread.

use std::time::Duration;

use landfall_provider::{Key, Kind, kind};

/// An observed duration: minimum, median and maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The minimum.
    pub least: Duration,
    /// Half of all are no longer.
    pub median: Duration,
    /// The maximum.
    pub most: Duration,
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self::always(Duration::ZERO);

    /// A constant duration.
    pub const fn always(duration: Duration) -> Self {
        Self {
            least: duration,
            median: duration,
            most: duration,
        }
    }

    /// In milliseconds.
    const fn of(least: u64, median: u64, most: u64) -> Self {
        Self {
            least: Duration::from_millis(least),
            median: Duration::from_millis(median),
            most: Duration::from_millis(most),
        }
    }

    /// A quantile: 0 gives the minimum, ½ the median, 1 the maximum.
    fn at(self, fraction: f64) -> Duration {
        let (from, to, part) = match fraction < 0.5 {
            true => (self.least, self.median, fraction * 2.0),
            false => (self.median, self.most, fraction * 2.0 - 1.0),
        };
        from + (to - from).mul_f64(part)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self::always(duration)
    }
}

/// The durations for one kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// From the create call to its answer; at least a call's usual latency.
    pub call: Span,
    /// From the create call until it is usable.
    pub create: Span,
    /// From an update until it is usable again.
    pub update: Span,
    /// From the delete call until it is gone.
    pub delete: Span,
    /// The time for which its references stay in use after it is gone: network interfaces linger.
    pub linger: Span,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            call: Span::ZERO,
            create: Duration::from_secs(2).into(),
            update: Span::ZERO,
            delete: Duration::from_secs(1).into(),
            linger: Span::ZERO,
        }
    }
}

/// AWS, from public deployment logs.
///
/// A kind without a separate state between created and usable spends its time within the create
/// call: several requests, for attributes, rules and tags. Where no log shows how long interfaces
/// linger, the figure is inferred: those of a balancer for one minute to three, those of a NAT
/// gateway or an instance for seconds. The time until an instance profile is usable is inferred
/// too; it is known to take up to two minutes.
pub(super) fn aws() -> Vec<(Kind, Times)> {
    /// Usable when the call returns.
    fn at_once(create: Span, delete: Span) -> Times {
        Times {
            call: create,
            create,
            delete,
            ..Times::default()
        }
    }
    /// The call returns with an id, and the rest takes longer.
    fn pending(create: Span, delete: Span, linger: Span) -> Times {
        Times {
            call: Span::of(500, 1_000, 1_500),
            create,
            delete,
            linger,
            ..Times::default()
        }
    }
    let quick = at_once(Span::of(100, 1_000, 2_000), Span::of(1_000, 2_000, 3_000));
    vec![
        (
            kind::VPC,
            at_once(Span::of(1_000, 1_500, 2_000), Span::of(1_000, 1_500, 2_000)),
        ),
        (kind::SUBNET, quick),
        (kind::ROUTE_TABLE, quick),
        (kind::NETWORK_ACL, quick),
        (kind::SECURITY_GROUP_RULES, quick),
        (kind::LISTENER_RULE, quick),
        (kind::SCALING_POLICY, quick),
        (kind::KEY_PAIR, quick),
        (kind::REPOSITORY, quick),
        (
            kind::INSTANCE_PROFILE,
            pending(
                Span::of(5_000, 10_000, 30_000),
                Span::of(1_000, 2_000, 3_000),
                Span::ZERO,
            ),
        ),
        (
            kind::INTERNET_GATEWAY,
            at_once(Span::of(800, 1_000, 1_200), Span::of(800, 1_000, 1_200)),
        ),
        (
            kind::ELASTIC_IP,
            at_once(Span::of(100, 500, 1_000), Span::of(1_000, 2_000, 3_000)),
        ),
        (
            kind::NAT_GATEWAY,
            pending(
                Span::of(85_000, 115_000, 125_000),
                Span::of(37_000, 52_000, 60_000),
                Span::of(0, 2_000, 5_000),
            ),
        ),
        (
            kind::LOAD_BALANCER,
            pending(
                Span::of(123_000, 148_000, 192_000),
                Span::of(1_000, 8_000, 16_000),
                Span::of(30_000, 60_000, 180_000),
            ),
        ),
        (
            kind::TARGET_GROUP,
            at_once(Span::of(1_000, 2_000, 7_000), Span::of(100, 500, 1_000)),
        ),
        (
            kind::LISTENER,
            at_once(Span::of(100, 1_500, 3_000), Span::of(100, 500, 1_000)),
        ),
        (
            kind::SECURITY_GROUP,
            at_once(Span::of(2_000, 2_500, 3_000), Span::of(100, 1_000, 5_000)),
        ),
        (
            kind::LAUNCH_TEMPLATE,
            at_once(Span::of(100, 1_000, 5_000), Span::of(100, 500, 1_000)),
        ),
        (
            kind::AUTOSCALING_GROUP,
            pending(
                Span::of(41_000, 58_000, 76_000),
                // 88 s without draining, and the 30 s for which a target may finish its requests.
                Span::of(100_000, 118_000, 136_000),
                Span::of(0, 2_000, 5_000),
            ),
        ),
        (
            kind::INSTANCE,
            pending(
                Span::of(12_000, 14_000, 16_000),
                Span::of(30_000, 42_000, 62_000),
                Span::of(0, 2_000, 5_000),
            ),
        ),
        (
            kind::GATEWAY_ENDPOINT,
            pending(
                Span::of(6_000, 6_500, 7_000),
                Span::of(1_000, 6_000, 10_000),
                Span::ZERO,
            ),
        ),
    ]
}

/// Draws durations: without a seed the medians; with a seed, values that depend only on the seed,
/// the key and the purpose, so that the order of calls has no influence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rng(pub(super) Option<u64>);

impl Rng {
    pub(super) fn draw(self, span: Span, key: &Key, purpose: &str) -> Duration {
        let Some(seed) = self.0 else {
            return span.median;
        };
        // FNV-1a over the words, and splitmix64's finish so that every bit has an effect.
        let words = format!("{key} {purpose}");
        let hash = words
            .bytes()
            .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        span.at(fraction(mix(hash)))
    }
}

/// The final steps of splitmix64: a bijection that spreads every bit.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number from 0 to 1.
fn fraction(bits: u64) -> f64 {
    // A double has 53 bits.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_lie_in_their_span_with_the_median_in_the_middle() {
        let span = Span::of(85_000, 115_000, 125_000);
        let key: Key = "nat-gateway/a".parse().unwrap();
        assert_eq!(Rng(None).draw(span, &key, "create"), span.median);
        let drawn: Vec<_> = (0..1_000)
            .map(|seed| Rng(Some(seed)).draw(span, &key, "create"))
            .collect();
        assert!(
            drawn
                .iter()
                .all(|one| (span.least..=span.most).contains(one))
        );
        let shorter = drawn.iter().filter(|one| **one < span.median).count();
        assert!((400..600).contains(&shorter), "{shorter} of 1,000");
        assert_eq!(drawn[7], Rng(Some(7)).draw(span, &key, "create"));
        assert_ne!(drawn[7], Rng(Some(7)).draw(span, &key, "delete"));
    }

    #[test]
    fn every_span_of_the_table_is_in_order() {
        for (kind, times) in aws() {
            let Times {
                call,
                create,
                update,
                delete,
                linger,
            } = times;
            for span in [call, create, update, delete, linger] {
                assert!(
                    span.least <= span.median && span.median <= span.most,
                    "{kind}"
                );
            }
        }
    }
}
