//! What a run was about: how many flows of each sort, and how many were stopped for each reason.

use std::collections::BTreeMap;
use std::fmt;

use landfall_network::reach::{Code, Leg, Reach, Verdict};

use super::world::{Flow, Sender};

/// How many flows a run in CI has to try.
const FLOWS: usize = 2000;

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
const BALANCERS: &str = "no proxy in these nodes; shown by local/tests/cloud/balancers.rs";

/// Why the reasons of targets are not shown at all.
const UNSENT: &str = "a balancer does not send there, so there is no packet to stop";

/// Counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Coverage {
    flows: usize,
    reachable: usize,
    partly: usize,
    /// Flows that were stopped, and reached their end after what their verdicts suggest.
    mended: usize,
    /// By reason and direction.
    stopped: BTreeMap<(Code, Leg), usize>,
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

    /// Counts a flow that got through after changes.
    pub(super) fn count_mended(&mut self) {
        self.mended += 1;
    }

    /// Adds what another one has counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.flows += other.flows;
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
            let (requests, answers) = (leg(Leg::Request), leg(Leg::Answer));
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
