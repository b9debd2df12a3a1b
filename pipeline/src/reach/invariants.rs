//! The required and the forbidden connections, of every stack and of the file, and their check.

use landfall_network::reach::{
    self, Block, Checked, End, Expectation, Flow, FlowError, Reach, Topology, Verdict, trace,
};
use landfall_network::{PortRange, Protocol};
use landfall_provider::{Key, Port};
use serde::Serialize;

use super::change::{self, Change};
use super::explain::seen;
use super::spot::{self, EndpointNameError, word};
use crate::config::{Config, Diagnostic, Mode};

/// The maximum number of changes for one connection; there are fewer layers.
const MOST_CHANGES: usize = 16;

/// A violation: a required or forbidden connection, with all others that have the same cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The requirement: `internet has to reach balancer on port 80`.
    pub invariants: Vec<String>,
    /// Whether the connection is required or forbidden.
    pub reachable: bool,
    /// The verdict; of several connections, that of the first.
    pub verdict: Verdict,
    /// The symptom at the client, if the connection is required.
    pub seen: Option<&'static str>,
    /// The changes of the file that would fix it: additions for a required connection,
    /// removals for a forbidden one.
    pub changes: Vec<Change>,
}

/// The result of the check. It passes if both lists are empty.
#[must_use]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReachabilityCheck {
    /// The violations.
    pub broken: Vec<Violation>,
    /// The undetermined requirements, each with the reason.
    pub undetermined: Vec<String>,
}

impl ReachabilityCheck {
    /// Whether all requirements hold.
    pub fn holds(&self) -> bool {
        self.broken.is_empty() && self.undetermined.is_empty()
    }
}

impl Violation {
    /// The block of a required connection.
    pub fn block(&self) -> Option<&Block> {
        self.verdict.block.as_ref().filter(|_| self.reachable)
    }

    /// The key that distinguishes causes.
    fn cause(&self) -> String {
        match self.block() {
            Some(block) => {
                let at = block
                    .at
                    .key()
                    .map_or_else(|| block.at.to_string(), change::table);
                let (rule, ports) = (&block.rule, block.packet.ports);
                format!("{} {at} {:?} {rule:?} {ports}", block.code, block.leg)
            }
            None if self.changes.is_empty() => self.invariants.join("\n"),
            None => format!("{:?}", self.changes),
        }
    }
}

/// Groups violations by their cause.
fn merged(all: impl Iterator<Item = Violation>) -> Vec<Violation> {
    let mut merged: Vec<Violation> = Vec::new();
    for broken in all {
        let cause = broken.cause();
        let same = merged
            .iter_mut()
            .find(|other| other.reachable == broken.reachable && other.cause() == cause);
        match same {
            None => merged.push(broken),
            Some(other) => {
                add_new(&mut other.invariants, broken.invariants);
                add_new(&mut other.changes, broken.changes);
            }
        }
    }
    merged
}

fn add_new<T: PartialEq>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for one in more {
        if !list.contains(&one) {
            list.push(one);
        }
    }
}

/// Checks all requirements in this network. If an expectation of the file contradicts a general
/// requirement, the file has priority.
pub(crate) fn check_reachability(config: &Config, topology: &Topology) -> ReachabilityCheck {
    let mut all = declared(config, topology);
    let operators = config.network.bastion.as_ref();
    let operators = operators.map_or(&[][..], |bastion| &bastion.allow);
    let always = reach::invariants(topology, operators);
    let overruled = |expectation: &Expectation| {
        all.iter().any(|said| {
            said.reachable != expectation.reachable && covers(&expectation.flow, &said.flow)
        })
    };
    let always = always.into_iter().chain(of_single(config, topology));
    let always: Vec<_> = always.filter(|it| !overruled(it)).collect();
    all.extend(always);
    let Checked {
        broken,
        undetermined,
    } = reach::check(topology, &all);
    let undetermined = undetermined.into_iter().filter_map(|(at, error)| {
        let Expectation {
            flow, reachable, ..
        } = all.get(at)?;
        Some(format!("{}: {error}", in_words(flow, *reachable)))
    });
    let undetermined = undetermined.collect();
    // The changes are applied in sequence: one often fixes the next violation, and no two entries of an
    // ACL get the same number.
    let mut mended = topology.clone();
    let reported = broken.into_iter().map(|broken| {
        let Expectation {
            flow, reachable, ..
        } = broken.expectation;
        let changes = match reachable {
            true => to_add(config, &mut mended, &flow),
            false => to_take_away(config, topology, &flow),
        };
        Violation {
            invariants: vec![in_words(&flow, reachable)],
            reachable,
            seen: seen(&broken.verdict).filter(|_| reachable),
            verdict: broken.verdict,
            changes,
        }
    });
    ReachabilityCheck {
        broken: merged(reported),
        undetermined,
    }
}

/// The requirements of a single instance: the allowed addresses reach the port of its service,
/// and no other connection is allowed.
fn of_single(config: &Config, topology: &Topology) -> Vec<Expectation> {
    let mut all = Vec::new();
    let Some((name, service)) = config.service.first_key_value() else {
        return all;
    };
    if config.mode != Mode::Single {
        return all;
    }
    let (port, allow) = (service.port.get(), &config.single.allow);
    let mut add = |from: End, to: &End, protocol, ports, reachable, because: &str| {
        all.push(Expectation {
            flow: Flow {
                ports,
                ..Flow::all_ports(from, to.clone(), protocol)
            },
            reachable,
            through: None,
            because: because.to_owned(),
        });
    };
    let rest = [
        (port > 0).then(|| PortRange {
            from: 0,
            to: port - 1,
        }),
        (port < u16::MAX).then(|| PortRange {
            from: port + 1,
            to: u16::MAX,
        }),
    ];
    for instance in spot::ends(name.as_str(), topology).unwrap_or_default() {
        for net in allow {
            let from = match net.prefix_len() {
                0 => End::Internet,
                _ => End::Addresses(*net),
            };
            let one = PortRange::one(service.port);
            add(
                from,
                &instance,
                Protocol::Tcp,
                one,
                true,
                "clients reach the service's port",
            );
        }
        for ports in rest.into_iter().flatten() {
            let why = "no address may reach another port";
            add(End::Internet, &instance, Protocol::Tcp, ports, false, why);
        }
        let all_ports = PortRange::ALL;
        add(
            End::Internet,
            &instance,
            Protocol::Udp,
            all_ports,
            false,
            "no address may reach another port",
        );
        let everybody = allow.iter().any(|net| net.prefix_len() == 0);
        if !everybody {
            let others = End::InternetExcept(allow.clone());
            let one = PortRange::one(service.port);
            add(
                others,
                &instance,
                Protocol::Tcp,
                one,
                false,
                "no other address may reach the service",
            );
        }
    }
    all
}

/// Whether one flow contains the other.
fn covers(whole: &Flow, part: &Flow) -> bool {
    (&whole.from, &whole.to, whole.protocol) == (&part.from, &part.to, part.protocol)
        && whole.ports.contains(part.ports.from)
        && whole.ports.contains(part.ports.to)
}

/// The expectations of the file, for each instance of a service.
fn declared(config: &Config, topology: &Topology) -> Vec<Expectation> {
    let mut all = Vec::new();
    for expectation in &config.network.expect {
        // Unknown names are diagnostics of the file.
        let ends =
            |spot: &crate::config::EndpointName| spot::ends(&spot.0, topology).unwrap_or_default();
        for from in ends(&expectation.from) {
            for to in ends(&expectation.to).into_iter().filter(|to| *to != from) {
                all.push(Expectation {
                    flow: Flow::tcp(from.clone(), to, expectation.port.get()),
                    reachable: expectation.reachable,
                    through: None,
                    because: "it is declared in landfall.toml".to_owned(),
                });
            }
        }
    }
    all
}

/// `internet has to reach balancer on port 80`.
fn in_words(flow: &Flow, reachable: bool) -> String {
    let (from, to) = (word(&flow.from), word(&flow.to));
    let protocol = if flow.protocol == Protocol::Udp {
        "UDP "
    } else {
        ""
    };
    let ports = match flow.ports {
        PortRange::ALL => format!("any {protocol}port"),
        ports => format!("{protocol}port {ports}"),
    };
    let verb = if reachable {
        "has to reach"
    } else {
        "must not reach"
    };
    format!("{from} {verb} {to} on {ports}")
}

/// Applies changes until the flow is reachable, and returns them.
pub(super) fn to_add(config: &Config, mended: &mut Topology, flow: &Flow) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..MOST_CHANGES {
        let block = trace(mended, flow).ok().and_then(|verdict| verdict.block);
        let Some(block) = block else { break };
        let Some(remedy) = &block.remedy else { break };
        add_new(&mut changes, change::of(config, &block));
        remedy.apply(mended);
    }
    changes
}

/// The rules of the file whose removal blocks the flow: one rule if that is enough.
fn to_take_away(config: &Config, topology: &Topology, flow: &Flow) -> Vec<Change> {
    let own = custom_rules(config, topology);
    let stops_without = |rules: &[(Key, usize)]| {
        let mut without = topology.clone();
        // In reverse order, so that the indices of the others stay valid.
        for (group, index) in rules.iter().rev() {
            if let Some(group) = without.security_groups.get_mut(group) {
                group.rules.remove(*index);
            }
        }
        trace(&without, flow).is_ok_and(|verdict| verdict.reach == Reach::Nothing)
    };
    let single = own
        .iter()
        .find(|rule| stops_without(std::slice::from_ref(*rule)));
    let rules = match single {
        Some(rule) => vec![rule.clone()],
        None if stops_without(&own) => needed(own, stops_without),
        None => Vec::new(),
    };
    let said = rules.iter().filter_map(|(group, index)| {
        let rules = &topology.security_groups.get(group)?.rules;
        Some(Change::File(change::group_rule(group, rules.get(*index)?)))
    });
    said.collect()
}

/// Reduces a set to the necessary elements.
fn needed(
    mut rules: Vec<(Key, usize)>,
    enough: impl Fn(&[(Key, usize)]) -> bool,
) -> Vec<(Key, usize)> {
    for index in (0..rules.len()).rev() {
        let rule = rules.remove(index);
        if !enough(&rules) {
            rules.insert(index, rule);
        }
    }
    rules
}

/// The custom security group rules of the file, by group and index.
fn custom_rules(config: &Config, topology: &Topology) -> Vec<(Key, usize)> {
    let mut own = Vec::new();
    for (key, group) in &topology.security_groups {
        let Some(said) = config.network.security_group.get(&key.name) else {
            continue;
        };
        for (index, rule) in group.rules.iter().enumerate() {
            if change::is_own(said, rule) {
                own.push((key.clone(), index));
            }
        }
    }
    own
}

/// Expectations with unknown names or invalid addresses.
pub(crate) fn faults(config: &Config, topology: &Topology) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (index, expectation) in config.network.expect.iter().enumerate() {
        let at = |key: &str| format!("network.expect[{index}].{key}");
        let mut ends = |key: &str, text: &str| match spot::ends(text, topology) {
            Ok(ends) => ends,
            Err(EndpointNameError { message, hint }) => {
                problems.push(Diagnostic::new(at(key), message).hint(hint));
                Vec::new()
            }
        };
        let (from, to) = (
            ends("from", &expectation.from.0),
            ends("to", &expectation.to.0),
        );
        if let (Some(from), Some(to)) = (from.first(), to.first())
            && let Err(error) = ask(topology, from, to, expectation.port)
        {
            problems.push(Diagnostic::new(at("from"), error).and(at("to")));
        }
    }
    problems
}

/// Traces a TCP connection.
pub(super) fn ask(
    topology: &Topology,
    from: &End,
    to: &End,
    port: Port,
) -> Result<Verdict, FlowError> {
    trace(topology, &Flow::tcp(from.clone(), to.clone(), port.get()))
}
