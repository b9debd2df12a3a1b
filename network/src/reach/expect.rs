//! Expectations of a network: flows that must be reachable, or must not be.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use landfall_provider::{Key, ResourceName};
use serde::{Deserialize, Serialize};

use super::flow::{End, Flow, FlowError};
use super::topology::{Role, Topology};
use super::trace::{Index, reach_in, trace_in};
use super::verdict::{Reach, Verdict};
use crate::ports::{HTTPS, SSH};
use crate::traffic::Protocol;

/// An expectation that a flow is reachable, or is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The flow.
    pub flow: Flow,
    /// `true`: all of it must arrive. `false`: none of it may arrive.
    pub reachable: bool,
    /// The gateway or endpoint that it must pass on its way, if it is reachable and that matters.
    pub through: Option<Key>,
    /// The reason, as a sentence that begins in lower case.
    pub because: String,
}

/// An expectation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedExpectation {
    /// The expectation.
    pub expectation: Expectation,
    /// The verdict on its flow.
    pub verdict: Verdict,
}

/// The result of a check. The expectations hold when both lists are empty.
#[must_use]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// The expectations that do not hold.
    pub broken: Vec<FailedExpectation>,
    /// Expectations whose flow cannot be traced, by their index: whether they hold is unknown.
    pub undetermined: Vec<(usize, FlowError)>,
}

/// Returns the expectations that do not hold, in the given order.
pub fn check(topology: &Topology, expectations: &[Expectation]) -> Checked {
    let index = Index::new(topology);
    let mut checked = Checked::default();
    for (at, expectation) in expectations.iter().enumerate() {
        let wanted = if expectation.reachable {
            Reach::All
        } else {
            Reach::Nothing
        };
        // Most expectations hold, and for those the path is not needed.
        let verdict = reach_in(&index, &expectation.flow).and_then(|reach| {
            if reach != wanted {
                return explain(&index, expectation).map(Some);
            }
            let Some(through) = &expectation.through else {
                return Ok(None);
            };
            let verdict = trace_in(&index, &expectation.flow)?;
            let passes = verdict.hops.iter().any(|hop| hop.at.key() == Some(through));
            Ok((!passes && expectation.reachable).then_some(verdict))
        });
        match verdict {
            Ok(None) => {}
            Ok(Some(verdict)) => checked.broken.push(FailedExpectation {
                expectation: expectation.clone(),
                verdict,
            }),
            Err(error) => checked.undetermined.push((at, error)),
        }
    }
    checked
}

/// The verdict on an expectation that does not hold.
///
/// For a flow that must not arrive, only the ports that do arrive matter.
fn explain(index: &Index<'_>, expectation: &Expectation) -> Result<Verdict, FlowError> {
    let verdict = trace_in(index, &expectation.flow)?;
    match verdict.arrived {
        Some(packet) if !expectation.reachable => {
            let narrow = Flow {
                ports: packet.ports,
                ..expectation.flow.clone()
            };
            trace_in(index, &narrow)
        }
        _ => Ok(verdict),
    }
}

/// The expectations that every deployment must meet, as far as it has the parts.
///
/// Reachable: every listener from the internet; every target from its balancer, on its port and its
/// health port; HTTPS on the internet from instances with a NAT gateway, and the service of each
/// endpoint; the bastion's SSH from `operators`, and that of the instances from the bastion.
///
/// Not reachable, on any port: an instance of a service from the internet, unless it has a public
/// address; the bastion from other addresses; the port of one service from the instances of
/// another.
pub fn invariants(topology: &Topology, operators: &[Ipv4Net]) -> Vec<Expectation> {
    let mut list = List::default();
    for (key, balancer) in &topology.balancers {
        for listener in balancer.listeners.values() {
            let flow = Flow::tcp(End::Internet, End::Balancer(key.clone()), listener.port);
            list.must(flow, "clients reach every listener");
            let groups = listener.rules.values().chain([&listener.default]);
            for group in groups.filter_map(|group| topology.target_groups.get(group)) {
                for target in &group.targets {
                    for port in BTreeSet::from([group.port, group.health_port]) {
                        let to = End::Interface(target.clone());
                        let flow = Flow::tcp(End::Balancer(key.clone()), to, port);
                        list.must(
                            flow,
                            "the balancer reaches its targets, for requests and for health checks",
                        );
                    }
                }
            }
        }
    }
    instances(topology, &mut list);
    bastions(topology, operators, &mut list);
    list.expectations
}

fn instances(topology: &Topology, list: &mut List) {
    let ports = service_ports(topology);
    for (name, service) in of_services(topology) {
        let instance = || End::Interface(name.to_owned());
        let is_public = topology
            .interfaces
            .get(name)
            .is_some_and(|interface| interface.public.is_some());
        if !topology.nat_gateways.is_empty() || is_public {
            let flow = Flow::tcp(instance(), End::Internet, HTTPS.get());
            list.must(
                flow,
                "instances pull their image over the NAT gateway, or by their own address",
            );
        }
        for (key, endpoint) in &topology.endpoints {
            list.expectations.push(Expectation {
                flow: Flow::tcp(instance(), End::Service(endpoint.service), HTTPS.get()),
                reachable: true,
                through: Some(key.clone()),
                because: "instances reach a service that has an endpoint through it".to_owned(),
            });
        }
        // Only the owner knows the intended clients of an instance with a public address.
        for protocol in [Protocol::Tcp, Protocol::Udp]
            .into_iter()
            .filter(|_| !is_public)
        {
            let flow = Flow::all_ports(End::Internet, instance(), protocol);
            list.must_not(flow, "the internet must not reach an instance");
        }
        for (other, owner) in of_services(topology).filter(|(_, owner)| *owner != service) {
            for port in ports.get(owner).into_iter().flatten() {
                let flow = Flow::tcp(instance(), End::Interface(other.to_owned()), *port);
                list.must_not(
                    flow,
                    "instances do not reach other services behind the balancer's back",
                );
            }
        }
    }
}

fn bastions(topology: &Topology, operators: &[Ipv4Net], list: &mut List) {
    let interfaces = topology.interfaces.iter();
    let bastions = interfaces.filter(|(_, interface)| interface.role == Role::Bastion);
    let everybody = Index::new(topology).internet_except(operators).is_empty();
    for (name, _) in bastions {
        let bastion = || End::Interface(name.clone());
        for net in operators {
            let flow = Flow::tcp(End::Addresses(*net), bastion(), SSH.get());
            list.must(flow, "operators log in to the bastion");
        }
        for (instance, _) in of_services(topology) {
            let flow = Flow::tcp(bastion(), End::Interface(instance.to_owned()), SSH.get());
            list.must(flow, "operators log in to instances from the bastion");
        }
        if everybody {
            continue;
        }
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let others = End::InternetExcept(operators.to_vec());
            let flow = Flow::all_ports(others, bastion(), protocol);
            list.must_not(flow, "no other address may reach the bastion");
        }
    }
}

/// The instances of services.
fn of_services(topology: &Topology) -> impl Iterator<Item = (&str, &ResourceName)> {
    let interfaces = topology.interfaces.iter();
    interfaces.filter_map(|(name, interface)| match &interface.role {
        Role::Service(service) => Some((name.as_str(), service)),
        _ => None,
    })
}

/// The destination ports of each service's instances.
fn service_ports(topology: &Topology) -> BTreeMap<&ResourceName, BTreeSet<u16>> {
    let mut ports: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
    for group in topology.target_groups.values() {
        for target in &group.targets {
            if let Some(Role::Service(service)) = topology.interfaces.get(target).map(|it| &it.role)
            {
                let of_service = ports.entry(service).or_default();
                of_service.extend([group.port, group.health_port]);
            }
        }
    }
    ports
}

#[derive(Default)]
struct List {
    expectations: Vec<Expectation>,
}

impl List {
    fn must(&mut self, flow: Flow, because: &str) {
        self.add(flow, true, because);
    }

    fn must_not(&mut self, flow: Flow, because: &str) {
        self.add(flow, false, because);
    }

    fn add(&mut self, flow: Flow, reachable: bool, because: &str) {
        self.expectations.push(Expectation {
            flow,
            reachable,
            through: None,
            because: because.to_owned(),
        });
    }
}
