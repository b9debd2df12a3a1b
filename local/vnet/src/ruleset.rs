//! Compiles security groups, network ACLs and gateways to packet filter rules; pure functions.

mod router;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub(super) use self::router::router;
use crate::netlink::ruleset::{
    Action, Base, Chain, ConnectionState, Field, Hook, Key, KeyType, Kind, Match, Rule, Ruleset,
    Set, Value, ValueType, Verdict,
};

const FORWARD: Base = Base {
    kind: Kind::Filter,
    hook: Hook::Forward,
    priority: 0,
    drop: true,
};

/// The kernel's priority of source translation.
const SOURCE_NAT: i32 = 100;

/// The priority before routing, where packets are marked for it.
const MANGLE: i32 = -150;

/// The rules of a NAT gateway: connections start in the VPC, and get the gateway's address outside.
pub(super) fn nat_gateway(vpc: Ipv4Net, address: Ipv4Addr) -> Ruleset {
    let mut ruleset = Ruleset::default();
    ruleset.sets.insert("states".to_owned(), states());
    let forward = Chain {
        base: Some(FORWARD),
        rules: vec![
            Rule::dispatch(Field::State, "states"),
            Rule::new([Match::In(Field::Source, vpc)], Verdict::Accept),
        ],
    };
    let input = Chain {
        base: Some(Base {
            hook: Hook::Input,
            ..FORWARD
        }),
        rules: Vec::new(),
    };
    let translate = Rule {
        matches: Vec::new(),
        action: Action::TranslateSourceTo(address),
    };
    ruleset.chains.insert("forward".to_owned(), forward);
    ruleset.chains.insert("input".to_owned(), input);
    let postrouting = nat(Hook::Postrouting, SOURCE_NAT, vec![translate]);
    ruleset.chains.insert("postrouting".to_owned(), postrouting);
    ruleset
}

/// The rules of the internet: packets from a link of a gateway endpoint are marked. So responses take the same link,
/// even if VPCs have the same addresses.
pub(super) fn internet(endpoints: impl Iterator<Item = (u32, u32)>) -> Ruleset {
    let mut marks = Set::map(KeyType::Link, ValueType::Mark);
    for (index, mark) in endpoints {
        marks.insert(Key::Link(index), Value::Mark(mark));
    }
    if marks.elements.is_empty() {
        return Ruleset::default();
    }
    let prerouting = Chain {
        base: Some(Base {
            kind: Kind::Filter,
            hook: Hook::Prerouting,
            priority: MANGLE,
            drop: false,
        }),
        rules: vec![Rule {
            matches: Vec::new(),
            action: Action::Mark(Field::IncomingLink, "endpoints".to_owned()),
        }],
    };
    Ruleset {
        sets: [("endpoints".to_owned(), marks)].into(),
        chains: [("prerouting".to_owned(), prerouting)].into(),
    }
}

/// The verdicts by the state of a connection: responses pass, invalid packets are dropped.
fn states() -> Set {
    let mut states = Set::map(KeyType::State, ValueType::Verdict);
    for (state, verdict) in [
        (ConnectionState::Established, Verdict::Accept),
        (ConnectionState::Related, Verdict::Accept),
        (ConnectionState::Invalid, Verdict::Drop),
    ] {
        states.insert(Key::State(state), Value::Verdict(verdict));
    }
    states
}

fn nat(hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    let base = Some(Base {
        kind: Kind::Nat,
        hook,
        priority,
        drop: false,
    });
    Chain { base, rules }
}
