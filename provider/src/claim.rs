//! Exclusive claims: addresses, a port, or a position in an order, each held by one resource at a
//! time.

use std::collections::BTreeMap;

use crate::input::Reference;
use crate::name::Kind;

/// A range of numbers that a resource holds exclusively within its parent: the addresses of a
/// subnet within its VPC, the port of a listener within its balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The parent's id. A parent without an id has no other children yet; its key is used instead.
    within: (Kind, String),
    first: u64,
    last: u64,
}

impl Claim {
    /// A range from `first` to `last`, both included.
    pub fn range(within: &dyn Reference, first: u64, last: u64) -> Self {
        let named = match (within.id(), within.target()) {
            (Some(id), _) => id.to_owned(),
            (None, Some(key)) => format!("${{{key}}}"),
            (None, None) => String::new(),
        };
        Self {
            within: (within.kind(), named),
            first,
            last,
        }
    }

    /// A single number.
    pub fn one(within: &dyn Reference, number: u64) -> Self {
        Self::range(within, number, number)
    }

    /// The whole parent.
    pub fn whole(within: &dyn Reference) -> Self {
        Self::range(within, 0, u64::MAX)
    }

    /// Whether the two claims cannot be held at the same time.
    pub fn excludes(&self, other: &Self) -> bool {
        self.within == other.within && self.first <= other.last && other.first <= self.last
    }
}

/// Claims and their owners, searchable by conflict.
#[derive(Default)]
pub(crate) struct Claims(BTreeMap<(Kind, String), Vec<Owned>>);

struct Owned {
    claim: Claim,
    owner: usize,
    /// The highest number up to here.
    reach: u64,
}

impl Claims {
    pub(crate) fn new(all: impl IntoIterator<Item = (Claim, usize)>) -> Self {
        let mut claims: BTreeMap<_, Vec<Owned>> = BTreeMap::new();
        for (claim, owner) in all {
            let within = claims.entry(claim.within.clone()).or_default();
            let reach = claim.last;
            within.push(Owned {
                claim,
                owner,
                reach,
            });
        }
        for within in claims.values_mut() {
            within.sort_by_key(|one| (one.claim.first, one.owner));
            let mut reach = 0;
            for one in within {
                reach = one.claim.last.max(reach);
                one.reach = reach;
            }
        }
        Self(claims)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The owners of claims that conflict with this one.
    pub(crate) fn excluding(&self, claim: &Claim) -> impl Iterator<Item = usize> {
        let within = self.0.get(&claim.within).map_or(&[][..], Vec::as_slice);
        let from = within.partition_point(|one| one.reach < claim.first);
        within[from..]
            .iter()
            .take_while(|one| one.claim.first <= claim.last)
            .filter(|one| one.claim.excludes(claim))
            .map(|one| one.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, VpcId};

    #[test]
    fn claims_exclude_each_other_where_they_overlap() {
        let vpc = |id: &str| Input::from(VpcId::from(id));
        let range = |id: &str, first, last| Claim::range(&vpc(id), first, last);
        assert!(range("a", 0, 9).excludes(&range("a", 9, 20)));
        assert!(!range("a", 0, 9).excludes(&range("a", 10, 20)));
        assert!(!range("a", 0, 9).excludes(&range("b", 0, 9)));
        assert!(Claim::whole(&vpc("a")).excludes(&Claim::one(&vpc("a"), 7)));

        let claims = Claims::new([
            (range("a", 0, 100), 1),
            (range("a", 10, 19), 2),
            (range("a", 20, 29), 3),
            (range("a", 200, 209), 4),
            (range("b", 15, 25), 5),
        ]);
        let excluding = |claim: &Claim| claims.excluding(claim).collect::<Vec<_>>();
        assert_eq!(excluding(&range("a", 15, 22)), [1, 2, 3]);
        assert_eq!(excluding(&range("a", 90, 200)), [1, 4]);
        assert_eq!(excluding(&range("a", 101, 199)), [0; 0]);
        assert_eq!(excluding(&range("c", 0, 9)), [0; 0]);
    }
}
