//! Sets of numbers as ranges: addresses and ports, with the algebra that a trace needs.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::traffic::PortRange;

/// A set of numbers: ordered ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// The numbers from `first` to `last`, both included.
    pub(super) fn span(first: u32, last: u32) -> Self {
        Self(vec![(first, last)])
    }

    /// The addresses of a block.
    pub(super) fn net(net: Ipv4Net) -> Self {
        Self::span(net.network().into(), net.broadcast().into())
    }

    /// One address.
    pub(super) fn address(address: Ipv4Addr) -> Self {
        Self::span(address.into(), address.into())
    }

    /// The addresses of all of these blocks.
    pub(super) fn nets<'a>(nets: impl IntoIterator<Item = &'a Ipv4Net>) -> Self {
        nets.into_iter()
            .fold(Self::default(), |all, net| all.or(&Self::net(*net)))
    }

    /// Ports.
    pub(super) fn ports(ports: PortRange) -> Self {
        if ports.from > ports.to {
            return Self::default();
        }
        Self::span(ports.from.into(), ports.to.into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the set contains a number.
    pub(super) fn contains(&self, number: u32) -> bool {
        self.iter()
            .any(|(first, last)| first <= number && number <= last)
    }

    /// The ranges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().copied()
    }

    /// The union.
    pub(super) fn or(&self, other: &Self) -> Self {
        let mut all: Vec<(u32, u32)> = self.iter().chain(other.iter()).collect();
        all.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// The intersection.
    pub(super) fn and(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.as_slice(), other.0.as_slice());
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (left.first(), right.first()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                both.push((first, last));
            }
            if a.1 < b.1 {
                left = &left[1..];
            } else {
                right = &right[1..];
            }
        }
        Self(both)
    }

    /// The difference.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut holes = other.0.as_slice();
        for &(mut first, last) in &self.0 {
            while let Some(hole) = holes.first().filter(|hole| hole.1 < first) {
                debug_assert!(hole.0 <= hole.1);
                holes = &holes[1..];
            }
            let mut used_up = false;
            for hole in holes.iter().take_while(|hole| hole.0 <= last) {
                if hole.0 > first {
                    rest.push((first, hole.0 - 1));
                }
                if hole.1 >= last {
                    used_up = true;
                    break;
                }
                first = hole.1 + 1;
            }
            if !used_up {
                rest.push((first, last));
            }
        }
        Self(rest)
    }

    /// Whether the set is a subset of the other.
    pub(super) fn within(&self, other: &Self) -> bool {
        self.iter()
            .all(|(first, last)| other.iter().any(|it| it.0 <= first && last <= it.1))
    }

    /// The smallest block that contains all addresses; for the empty set, the block of all
    /// addresses.
    pub(super) fn cover(&self) -> Ipv4Net {
        let (first, last) = match (self.0.first(), self.0.last()) {
            (Some(first), Some(last)) => (first.0, last.1),
            _ => (0, u32::MAX),
        };
        let length = (first ^ last).leading_zeros();
        let length = u8::try_from(length).expect("at most the 32 bits of an address");
        Ipv4Net::new(Ipv4Addr::from(first), length)
            .expect("at most the 32 bits of an address")
            .trunc()
    }

    /// The smallest port range that contains the set.
    pub(super) fn port_span(&self) -> PortRange {
        let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        PortRange {
            from: self.0.first().map_or(0, |range| port(range.0)),
            to: self.0.last().map_or(u16::MAX, |range| port(range.1)),
        }
    }

    /// The ports of this set.
    pub(super) fn port_ranges(&self) -> Vec<PortRange> {
        self.iter()
            .map(|(first, last)| Self::span(first, last).port_span())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = Ranges> {
        prop::collection::vec((0u32..40, 0u32..8), 0..5).prop_map(|spans| {
            spans
                .into_iter()
                .fold(Ranges::default(), |all, (first, length)| {
                    all.or(&Ranges::span(first, first + length))
                })
        })
    }

    fn numbers(ranges: &Ranges) -> BTreeSet<u32> {
        ranges.iter().flat_map(|(a, b)| a..=b).collect()
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_sets(a in set(), b in set()) {
            let (left, right) = (numbers(&a), numbers(&b));
            prop_assert_eq!(numbers(&a.or(&b)), &left | &right);
            prop_assert_eq!(numbers(&a.and(&b)), &left & &right);
            prop_assert_eq!(numbers(&a.without(&b)), &left - &right);
            prop_assert_eq!(a.within(&b), left.is_subset(&right));
            // Every set has exactly one representation.
            prop_assert_eq!(a.without(&b).or(&a.and(&b)), a);
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_numbers_too() {
        let all = Ranges::span(0, u32::MAX);
        let middle = Ranges::span(1, u32::MAX - 1);
        assert_eq!(
            all.without(&middle),
            Ranges::span(0, 0).or(&Ranges::span(u32::MAX, u32::MAX))
        );
        assert_eq!(all.without(&all), Ranges::default());
        assert_eq!(middle.or(&all), all);
    }

    #[test]
    fn the_cover_is_the_smallest_block() {
        let net = |text: &str| Ranges::net(text.parse().unwrap());
        let two = net("10.0.0.4/32").or(&net("10.0.0.7/32"));
        assert_eq!(two.cover().to_string(), "10.0.0.4/30");
        assert_eq!(net("0.0.0.0/0").cover().to_string(), "0.0.0.0/0");
        assert_eq!(net("10.0.0.4/32").cover().to_string(), "10.0.0.4/32");
    }
}
