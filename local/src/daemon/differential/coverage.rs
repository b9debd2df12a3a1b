//! What a run was about: how many flows of each sort, and how many were stopped for each reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use landfall_network::reach::{Code, FlowDirection, Reach, Verdict};

use super::Tried;
use super::world::{Flow, Sender, TestTopology};

/// How many flows a run in CI has to try.
const FLOWS: usize = 2000;

/// In how many networks.
const NETWORKS: usize = 100;

/// How many of them have to be stopped by each of the reasons that there can be here.
const EACH: usize = 20;

/// The reasons that no packet of this test can show, and why.
const NOT_HERE: &[(Code, &str)] = &[
    (Code::Elbv2ListenersMismatch, BALANCERS),
    (Code::Elbv2ListenerPortRestriction, BALANCERS),
    (Code::Elbv2ListenerHasNoTg, BALANCERS),
    (Code::TargetPortRestriction, UNSENT),
    (Code::TargetAddressRestriction, UNSENT),
];

/// Where the reasons of listeners are shown.
const BALANCERS: &str = "no proxy in these nodes; drawn by local/tests/cloud/listeners.rs";

/// Why the reasons of targets are not shown at all.
const UNSENT: &str = "a balancer does not send there, so there is no packet to stop";

/// Counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage {
    flows: usize,
    /// The networks that were built, each by what it consists of.
    networks: BTreeSet<String>,
    /// The same network is built anew where packets would be taken for each other.
    built: usize,
    packets: usize,
    reachable: usize,
    partly: usize,
    /// Flows that were stopped, and reached their end after what their verdicts suggest.
    mended: usize,
    /// By reason and direction.
    stopped: BTreeMap<(Code, FlowDirection), usize>,
    /// By sender and protocol.
    sorts: BTreeMap<String, usize>,
}

impl Coverage {
    /// Counts a flow.
    pub(super) fn count(&mut self, flow: &Flow, verdict: &Verdict) {
        self.flows += 1;
        self.reachable += usize::from(verdict.reach == Reach::All);
        self.partly += usize::from(verdict.reach == Reach::Part);
        if let Some(block) = &verdict.block {
            *self.stopped.entry((block.code, block.leg)).or_default() += 1;
        }
        let sender = match flow.from {
            Sender::Internet(_) => "the internet",
            Sender::Instance(_) => "an instance",
            Sender::Node(_) => "a balancer's node",
        };
        let sort = format!("from {sender} over {:?}", flow.protocol);
        *self.sorts.entry(sort).or_default() += 1;
    }

    /// Counts a network that was drawn, unless no packet was sent in it.
    pub(super) fn count_built(&mut self, drawn: &TestTopology, tried: Tried) {
        self.built += tried.networks;
        self.packets += tried.packets;
        if tried.packets > 0 {
            let drawn = serde_json::to_string(drawn).expect("a world goes into JSON");
            self.networks.insert(drawn);
        }
    }

    /// Counts a flow that got through after changes.
    pub(super) fn count_mended(&mut self) {
        self.mended += 1;
    }

    /// Adds what another one has counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.flows += other.flows;
        self.networks.extend(other.networks.iter().cloned());
        self.built += other.built;
        self.packets += other.packets;
        self.reachable += other.reachable;
        self.partly += other.partly;
        self.mended += other.mended;
        for (reason, count) in &other.stopped {
            *self.stopped.entry(*reason).or_default() += count;
        }
        for (sort, count) in &other.sorts {
            *self.sorts.entry(sort.clone()).or_default() += count;
        }
    }

    fn of(&self, code: Code) -> usize {
        let stopped = self.stopped.iter();
        stopped
            .filter(|((other, _), _)| *other == code)
            .map(|(_, count)| count)
            .sum()
    }

    /// Fails unless there were enough flows in all and for each reason.
    pub(super) fn assert_enough(&self) {
        assert!(self.flows >= FLOWS, "{} flows", self.flows);
        let networks = self.networks.len();
        assert!(networks >= NETWORKS, "{networks} networks were built");
        for code in Code::ALL {
            let count = self.of(*code);
            match NOT_HERE.iter().find(|(other, _)| other == code) {
                Some(_) => assert_eq!(count, 0, "{code} can be shown: take it off the list"),
                None => assert!(count >= EACH, "{count} flows stopped by {code}"),
            }
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} topologies, none like another, built {} times; {} packets sent",
            self.networks.len(),
            self.built,
            self.packets
        )?;
        writeln!(
            f,
            "{} flows: {} reachable, {} from some ports only, the others not at all",
            self.flows, self.reachable, self.partly
        )?;
        writeln!(
            f,
            "{} more, after the changes that verdicts suggest",
            self.mended
        )?;
        for (sort, count) in &self.sorts {
            writeln!(f, "  {count:>6}  {sort}")?;
        }
        writeln!(f, "stopped, by reason:")?;
        for code in Code::ALL {
            let leg = |leg| self.stopped.get(&(*code, leg)).copied().unwrap_or(0);
            let (requests, answers) = (leg(FlowDirection::Request), leg(FlowDirection::Return));
            write!(f, "  {:>6}  {code}", requests + answers)?;
            if answers > 0 {
                write!(f, " ({answers} of them the answer)")?;
            }
            if let Some((_, why)) = NOT_HERE.iter().find(|(other, _)| other == code) {
                write!(f, ": {why}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
