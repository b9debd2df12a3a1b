//! Rules in nft's own language, for readers and tests.

use std::fmt;

use super::{
    Action, Base, ConnectionState, Field, Hook, Key, KeyType, Kind, Match, Rule, Ruleset, TABLE,
    Value, ValueType, Verdict,
};

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table ip {TABLE} {{")?;
        for (name, set) in &self.sets {
            let kind = if set.value.is_some() { "map" } else { "set" };
            writeln!(f, "\t{kind} {name} {{")?;
            write!(f, "\t\ttype {}", set.key)?;
            if let Some(value) = set.value {
                write!(f, " : {value}")?;
            }
            writeln!(f)?;
            if !set.elements.is_empty() {
                writeln!(f, "\t\telements = {{")?;
                for (key, value) in &set.elements {
                    match value {
                        Some(value) => writeln!(f, "\t\t\t{key} : {value},")?,
                        None => writeln!(f, "\t\t\t{key},")?,
                    }
                }
                writeln!(f, "\t\t}}")?;
            }
            writeln!(f, "\t}}")?;
        }
        for (name, chain) in &self.chains {
            writeln!(f, "\tchain {name} {{")?;
            if let Some(base) = chain.base {
                writeln!(f, "\t\t{base}")?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "iface_index",
            Self::Group => "devgroup",
            Self::Address => "ipv4_addr",
            Self::State => "ct_state",
        })
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verdict => "verdict",
            Self::Address => "ipv4_addr",
            Self::Mark => "mark",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(number) | Self::Group(number) => write!(f, "{number}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::State(ConnectionState::Invalid) => f.write_str("invalid"),
            Self::State(ConnectionState::Established) => f.write_str("established"),
            Self::State(ConnectionState::Related) => f.write_str("related"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Mark(mark) => write!(f, "{mark}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Filter => "filter",
            Kind::Nat => "nat",
        };
        let hook = match self.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Postrouting => "postrouting",
        };
        let policy = if self.drop { "drop" } else { "accept" };
        let priority = self.priority;
        write!(
            f,
            "type {kind} hook {hook} priority {priority}; policy {policy};"
        )
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IncomingLink => "iif",
            Self::OutgoingLink => "oif",
            Self::IncomingGroup => "iifgroup",
            Self::OutgoingGroup => "oifgroup",
            Self::Source => "ip saddr",
            Self::Destination => "ip daddr",
            Self::State => "ct state",
        })
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(field, number) => write!(f, "{field} {number}"),
            Self::IsNot(field, address) => write!(f, "{field} != {address}"),
            Self::In(field, network) if network.prefix_len() == 32 => {
                write!(f, "{field} {}", network.addr())
            }
            Self::In(field, network) => write!(f, "{field} {network}"),
            Self::InSet(field, set) => write!(f, "{field} @{set}"),
            Self::Protocol(number) => write!(f, "meta l4proto {number}"),
            Self::Ports(ports) if ports.start() == ports.end() => {
                write!(f, "th dport {}", ports.start())
            }
            Self::Ports(ports) => write!(f, "th dport {}-{}", ports.start(), ports.end()),
            Self::IcmpType(number) => write!(f, "icmp type {number}"),
            Self::IcmpCode(number) => write!(f, "icmp code {number}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(verdict) => write!(f, "{verdict}"),
            Self::Dispatch(field, map) => write!(f, "{field} vmap @{map}"),
            Self::TranslateDestination(map) => write!(f, "dnat to ip daddr map @{map}"),
            Self::TranslateSource(map) => write!(f, "snat to ip saddr map @{map}"),
            Self::TranslateSourceTo(address) => write!(f, "snat to {address}"),
            Self::Mark(field, map) => write!(f, "meta mark set {field} map @{map}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        write!(f, "{}", self.action)
    }
}
