//! A set of packet filter rules as data: one nftables table, printable in nft's own language.

mod text;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

/// The name of the one table that a namespace has.
pub(crate) const TABLE: &str = "fabric";

/// The rules of one network namespace.
///
/// [`Display`](std::fmt::Display) prints them as `nft -f` reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ruleset {
    /// Sets and maps by name.
    pub(crate) sets: BTreeMap<String, Set>,
    /// Chains by name.
    pub(crate) chains: BTreeMap<String, Chain>,
}

/// What a set has for keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyType {
    /// Indices of links.
    Link,
    /// Groups of links.
    Group,
    /// IPv4 addresses.
    Address,
    /// States of connections.
    State,
}

/// What a map gives for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    /// What to do with the packet.
    Verdict,
    /// An IPv4 address.
    Address,
    /// A packet mark.
    Mark,
}

/// A set, or with a value type a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    /// What its keys are.
    pub(crate) key: KeyType,
    /// What it maps them to.
    pub(crate) value: Option<ValueType>,
    /// What is in it; a set has no values, a map has one for each key.
    pub(crate) elements: BTreeMap<Key, Option<Value>>,
}

impl Set {
    /// A set of addresses.
    pub(crate) fn addresses(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        Self {
            key: KeyType::Address,
            value: None,
            elements: addresses
                .into_iter()
                .map(|address| (Key::Address(address), None))
                .collect(),
        }
    }

    /// A map with no elements yet.
    pub(crate) fn map(key: KeyType, value: ValueType) -> Self {
        Self {
            key,
            value: Some(value),
            elements: BTreeMap::new(),
        }
    }

    /// Maps a key to a value.
    pub(crate) fn insert(&mut self, key: Key, value: Value) {
        self.elements.insert(key, Some(value));
    }
}

/// A key of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A link's index.
    Link(u32),
    /// A group of links.
    Group(u32),
    /// An address.
    Address(Ipv4Addr),
    /// A state of a connection.
    State(ConnectionState),
}

impl Key {
    /// The address, if it is one.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Link(_) | Self::Group(_) | Self::State(_) => None,
        }
    }
}

/// The state of the connection that a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConnectionState {
    /// It makes no sense in any connection.
    Invalid,
    /// Packets have been seen in both directions.
    Established,
    /// It is an error message about a known connection.
    Related,
}

/// A value of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// What to do with the packet.
    Verdict(Verdict),
    /// An address.
    Address(Ipv4Addr),
    /// A mark.
    Mark(u32),
}

/// What to do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Let it pass this hook.
    Accept,
    /// Forget it.
    Drop,
    /// Go on behind the jump that led here.
    Return,
    /// Look through another chain, then go on here.
    Jump(String),
    /// Look through another chain, then go on behind the jump that led here.
    Goto(String),
}

/// Rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Where the kernel's path of packets leads through it, unless only other chains do.
    pub(crate) base: Option<Base>,
    /// What it asks and does, first to last.
    pub(crate) rules: Vec<Rule>,
}

/// Where a chain hangs in the path of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    /// What it can do.
    pub(crate) kind: Kind,
    /// At which point of the path.
    pub(crate) hook: Hook,
    /// Its order among all at that point; lower comes first.
    pub(crate) priority: i32,
    /// Whether a packet that nothing was said about is dropped.
    pub(crate) drop: bool,
}

/// What a base chain can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Let pass and drop.
    Filter,
    /// Translate addresses, asked once per connection.
    Nat,
}

/// A point of the path of packets; the values are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// As it comes in.
    Prerouting = 0,
    /// As it is about to be delivered here.
    Input = 1,
    /// Between coming in and going out.
    Forward = 2,
    /// As it goes out.
    Postrouting = 4,
}

/// A rule: what is done with packets that match everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// What a packet has to be.
    pub(crate) matches: Vec<Match>,
    /// What is done with it.
    pub(crate) action: Action,
}

impl Rule {
    /// A rule with a verdict.
    pub(crate) fn new(matches: impl Into<Vec<Match>>, verdict: Verdict) -> Self {
        Self {
            matches: matches.into(),
            action: Action::Verdict(verdict),
        }
    }

    /// A rule that looks a packet's field up in a map of verdicts, and goes on if it is not in there.
    pub(crate) fn dispatch(field: Field, map: impl Into<String>) -> Self {
        Self {
            matches: Vec::new(),
            action: Action::Dispatch(field, map.into()),
        }
    }
}

/// Something that a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The link it came in through.
    IncomingLink,
    /// The link it goes out through.
    OutgoingLink,
    /// The group of the link it came in through.
    IncomingGroup,
    /// The group of the link it goes out through.
    OutgoingGroup,
    /// Its source address.
    Source,
    /// Its destination address.
    Destination,
    /// The state of its connection.
    State,
}

/// A condition on a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Match {
    /// The field (a link or a group) is this one.
    Is(Field, u32),
    /// The field (an address) is not this one.
    IsNot(Field, Ipv4Addr),
    /// The field (an address) is in this network.
    In(Field, Ipv4Net),
    /// The field (an address) is in the set of this name.
    InSet(Field, String),
    /// The transport protocol has this number.
    Protocol(u8),
    /// The destination port is one of these.
    Ports(RangeInclusive<u16>),
    /// The ICMP message is of this type.
    IcmpType(u8),
    /// The ICMP message has this code.
    IcmpCode(u8),
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ends with a verdict.
    Verdict(Verdict),
    /// Takes the verdict for the packet's field from a map; goes on if there is none.
    Dispatch(Field, String),
    /// Translates the destination address to the map's value for it; goes on if there is none.
    TranslateDestination(String),
    /// Translates the source address to the map's value for it; goes on if there is none.
    TranslateSource(String),
    /// Translates the source address to this one.
    TranslateSourceTo(Ipv4Addr),
    /// Marks the packet with the map's value for its field, and goes on.
    Mark(Field, String),
}
