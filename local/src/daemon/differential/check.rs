//! What a verdict says about single packets, and whether they did so.

use std::collections::BTreeSet;
use std::fmt;

use fastrand::Rng;
use landfall_network::reach::{Code, FlowDirection, HopLocation, Reach, Verdict};
use landfall_network::{PortRange, Protocol};
use landfall_provider::NatGatewayId;

use super::packets::Fate;
use super::world::{Flow, Sender, TestTopology};

/// How many ports stand for all that a flow may come from.
const SAMPLES: usize = 3;

/// A packet that has to show whether a verdict is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    /// The place of its flow among the world's.
    pub(super) flow: usize,
    /// The port that it is sent from.
    pub(super) source_port: u16,
    /// The NAT gateway to look at.
    pub(super) through: Option<NatGatewayId>,
    pub(super) expected: Expected,
}

/// What a packet should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Arrive and be answered.
    Answered,
    /// Arrive, and the answer is stopped.
    Unanswered,
    /// Not arrive.
    Lost,
    /// Not be answered; whether it arrives cannot be seen, because nobody is there.
    Silent,
    /// Arrive, and the answer gets as far as the NAT gateway.
    Translated,
    /// Arrive, and the answer does not get to the NAT gateway.
    Untranslated,
}

impl Expected {
    pub(super) fn holds(self, fate: Fate) -> bool {
        match self {
            Self::Answered => fate.answered,
            Self::Unanswered => fate.arrived && !fate.answered,
            Self::Lost => !fate.arrived && !fate.answered,
            Self::Silent => !fate.answered,
            Self::Translated => fate.arrived && fate.translated,
            Self::Untranslated => fate.arrived && !fate.translated && !fate.answered,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "arrives and is answered",
            Self::Unanswered => "arrives, and the answer is stopped",
            Self::Lost => "does not arrive",
            Self::Silent => "is not answered",
            Self::Translated => "arrives, and the answer reaches the NAT gateway",
            Self::Untranslated => "arrives, and the answer does not reach the NAT gateway",
        })
    }
}

/// The packets that have to show whether a verdict about a flow is right.
///
/// A verdict is about every port that a connection may come from: a few stand for them, one from each
/// part that the ACLs treat alike. Where only some are let through, the verdict names one that is not.
pub(super) fn trials(
    world: &TestTopology,
    flow: &Flow,
    index: usize,
    verdict: &Verdict,
) -> Vec<Trial> {
    let seed = u64::try_from(index).expect("few flows");
    let mut rng = Rng::with_seed(seed);
    let has_ports = flow.protocol != Protocol::Icmp;
    let trial = |source_port, through: Option<&NatGatewayId>, expected| Trial {
        flow: index,
        source_port,
        through: through.cloned(),
        expected,
    };
    let gateway = has_ports.then(|| nat_gateway(world, verdict)).flatten();
    let own = flow.source_ports.unwrap_or_else(|| taken_by(&flow.from));
    let own = || {
        if has_ports {
            samples(world, own, &mut Rng::with_seed(seed))
        } else {
            vec![own.from]
        }
    };
    let stopped = |leg| match leg {
        _ if world.holder(flow.to).is_none() => Expected::Silent,
        FlowDirection::Request => Expected::Lost,
        FlowDirection::Return => Expected::Unanswered,
    };
    match (verdict.reach, &verdict.block) {
        (Reach::All, _) => {
            let mut trials: Vec<Trial> = own()
                .into_iter()
                .map(|port| trial(port, None, Expected::Answered))
                .collect();
            if let Some(gateway) = gateway {
                let ports = samples(world, PortRange::EPHEMERAL, &mut rng).into_iter();
                trials.extend(ports.map(|port| trial(port, Some(&gateway), Expected::Translated)));
            }
            trials
        }
        (Reach::Nothing, Some(block)) => own()
            .into_iter()
            .map(|port| trial(port, None, stopped(block.leg)))
            .collect(),
        (Reach::Part, Some(block)) => {
            let port = block.packet.ports.from;
            let remapped = block.code == Code::RemapEphemeralPort;
            match gateway.filter(|_| remapped) {
                Some(gateway) => vec![trial(port, Some(&gateway), Expected::Untranslated)],
                None => vec![trial(port, None, stopped(block.leg))],
            }
        }
        (_, None) => panic!("not all of it arrives and nothing stops it: {verdict:?}"),
    }
}

/// The NAT gateway on the way.
fn nat_gateway(world: &TestTopology, verdict: &Verdict) -> Option<NatGatewayId> {
    verdict.hops.iter().find_map(|hop| match &hop.at {
        HopLocation::NatGateway(key) => {
            let id = NatGatewayId::from(key.name.as_str());
            world.nat_gateways.contains_key(&id).then_some(id)
        }
        _ => None,
    })
}

/// The ports that a sender connects from when it is not told.
fn taken_by(sender: &Sender) -> PortRange {
    match sender {
        Sender::Instance(_) => PortRange {
            from: 32768,
            to: 60999,
        },
        Sender::Internet(_) | Sender::Node(_) => PortRange::EPHEMERAL,
    }
}

/// Ports out of a range, from parts of it that no entry of an ACL divides.
fn samples(world: &TestTopology, range: PortRange, rng: &mut Rng) -> Vec<u16> {
    let mut starts = BTreeSet::from([u32::from(range.from)]);
    let end = u32::from(range.to) + 1;
    for entry in world.network_acls.values().flat_map(|acl| &acl.entries) {
        starts.extend([u32::from(entry.ports.from), u32::from(entry.ports.to) + 1]);
    }
    let starts: Vec<u32> = starts.range(u32::from(range.from)..end).copied().collect();
    let ends = starts.iter().skip(1).copied().chain([end]);
    let parts: Vec<(u32, u32)> = starts.iter().copied().zip(ends).collect();
    let parts = rng.choose_multiple(parts, SAMPLES).into_iter();
    parts
        .map(|(first, end)| rng.u32(first..end))
        .map(|port| u16::try_from(port).expect("it is within a range of ports"))
        .collect()
}
