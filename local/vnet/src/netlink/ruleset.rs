//! A set of packet filter rules as data: one nftables table, printable in nft's own language.

mod text;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

/// The name of the only table in a namespace.
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

/// The type of a set's keys.
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

/// The type of a map's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    /// A verdict.
    Verdict,
    /// An IPv4 address.
    Address,
    /// A packet mark.
    Mark,
}

/// A set; with a value type, a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    /// The type of its keys.
    pub(crate) key: KeyType,
    /// The type of its values.
    pub(crate) value: Option<ValueType>,
    /// Its elements; a set has no values, a map has one for each key.
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

    /// An empty map.
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
    /// The address, if the key is one.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Link(_) | Self::Group(_) | Self::State(_) => None,
        }
    }
}

/// The state of a packet's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ConnectionState {
    /// The packet is invalid in every connection.
    Invalid,
    /// Packets have been seen in both directions.
    Established,
    /// The packet is an error message about a known connection.
    Related,
}

/// A value of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A verdict.
    Verdict(Verdict),
    /// An address.
    Address(Ipv4Addr),
    /// A mark.
    Mark(u32),
}

/// The decision about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The packet passes this hook.
    Accept,
    /// The packet is dropped.
    Drop,
    /// Evaluation continues behind the jump to this chain.
    Return,
    /// Evaluates another chain, then continues here.
    Jump(String),
    /// Evaluates another chain, then continues behind the jump to this chain.
    Goto(String),
}

/// Rules in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The hook of a base chain. Other chains have none, and only jumps reach them.
    pub(crate) base: Option<Base>,
    /// Its rules, in order.
    pub(crate) rules: Vec<Rule>,
}

/// The position of a base chain in the path of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    /// The chain's type.
    pub(crate) kind: Kind,
    /// The hook.
    pub(crate) hook: Hook,
    /// Its order among all chains at that hook; lower comes first.
    pub(crate) priority: i32,
    /// Whether packets without a verdict are dropped.
    pub(crate) drop: bool,
}

/// The type of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Accepts and drops packets.
    Filter,
    /// Translates addresses, once per connection.
    Nat,
}

/// A hook in the path of packets; the values are the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Incoming packets.
    Prerouting = 0,
    /// Packets for a local socket.
    Input = 1,
    /// Forwarded packets.
    Forward = 2,
    /// Outgoing packets.
    Postrouting = 4,
}

/// A rule: an action for packets that match all conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The conditions.
    pub(crate) matches: Vec<Match>,
    /// The action.
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

    /// A rule that looks a packet's field up in a map of verdicts. If the map has no entry, evaluation continues.
    pub(crate) fn dispatch(field: Field, map: impl Into<String>) -> Self {
        Self {
            matches: Vec::new(),
            action: Action::Dispatch(field, map.into()),
        }
    }
}

/// A field of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The incoming link.
    IncomingLink,
    /// The outgoing link.
    OutgoingLink,
    /// The group of the incoming link.
    IncomingGroup,
    /// The group of the outgoing link.
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

/// The action of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ends with a verdict.
    Verdict(Verdict),
    /// Uses the map's verdict for the packet's field; continues without one.
    Dispatch(Field, String),
    /// Translates the destination address to the map's value for it; continues without one.
    TranslateDestination(String),
    /// Translates the source address to the map's value for it; continues without one.
    TranslateSource(String),
    /// Translates the source address to this one.
    TranslateSourceTo(Ipv4Addr),
    /// Marks the packet with the map's value for its field, and continues.
    Mark(Field, String),
}
