//! What has to be reachable and what must not be, by the file and in every stack, and whether a plan keeps to it.

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

/// So many changes are tried for one connection; there are fewer layers than that.
const MOST_CHANGES: usize = 16;

/// Something that has to hold and would not, with everything that one and the same cause breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What has to hold: `internet has to reach balancer on port 80`.
    pub invariants: Vec<String>,
    /// Whether it is about something that has to be reachable, or must not be.
    pub reachable: bool,
    /// What would happen; of several connections, to the first.
    pub verdict: Verdict,
    /// What a client would see of the first connection, where it has to be reachable.
    pub seen: Option<&'static str>,
    /// The changes that would mend it, in the words of the file: what to add where something has to be
    /// reachable, what to take away where it must not be.
    pub changes: Vec<Change>,
}

/// What came of looking at everything that has to hold. It is proved when both lists are empty.
#[must_use]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReachabilityCheck {
    /// What would not hold.
    pub broken: Vec<Violation>,
    /// What cannot be found out, each with why: nobody knows whether it would hold.
    pub undetermined: Vec<String>,
}

impl ReachabilityCheck {
    /// Whether all of it holds.
    pub fn holds(&self) -> bool {
        self.broken.is_empty() && self.undetermined.is_empty()
    }
}

impl Violation {
    /// What stops the connection, where it was to come about.
    pub fn block(&self) -> Option<&Block> {
        self.verdict.block.as_ref().filter(|_| self.reachable)
    }

    /// What tells causes apart.
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

/// Puts together what has one cause.
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

/// Looks at everything that has to hold in this network. Where a declared expectation contradicts what always
/// holds, the file has the last word.
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
    // The changes are made one after the other: what mends one often mends the next, and no two entries of an
    // ACL get one number.
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

/// What has to hold where there is one instance that clients ask themselves: those who may reach its service's port,
/// and nobody reaches anything else of it.
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

/// Whether one flow has the other as a part.
fn covers(whole: &Flow, part: &Flow) -> bool {
    (&whole.from, &whole.to, whole.protocol) == (&part.from, &part.to, part.protocol)
        && whole.ports.contains(part.ports.from)
        && whole.ports.contains(part.ports.to)
}

/// The expectations of the file, each instance of a service by itself.
fn declared(config: &Config, topology: &Topology) -> Vec<Expectation> {
    let mut all = Vec::new();
    for expectation in &config.network.expect {
        // Names that are not there are faults of the file, and told as such.
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

/// Makes one change after the other until the flow is reachable, and tells them.
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

/// The rules of the file itself without which the flow would not be reachable: a single one where one is enough.
fn to_take_away(config: &Config, topology: &Topology, flow: &Flow) -> Vec<Change> {
    let own = custom_rules(config, topology);
    let stops_without = |rules: &[(Key, usize)]| {
        let mut without = topology.clone();
        // The last ones first, so that the places of the others stay.
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

/// Leaves out of a set whatever it does without.
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

/// The security groups' rules that the file says itself, by group and place.
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

/// Expectations that cannot be asked about: names that nothing has, addresses that are none.
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

/// Asks about a TCP connection.
pub(super) fn ask(
    topology: &Topology,
    from: &End,
    to: &End,
    port: Port,
) -> Result<Verdict, FlowError> {
    trace(topology, &Flow::tcp(from.clone(), to.clone(), port.get()))
}
