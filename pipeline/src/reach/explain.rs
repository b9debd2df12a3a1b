//! Explains a connection: the rules that allow it, the rule that blocks it, and the change that would allow it.

use landfall_network::reach::{
    AssembleError, Code, End, FlowError, Hop, HopLocation, Role, Topology, Verdict,
};
use landfall_provider::{Error, ErrorKind, Port, Result, StackName};
use serde::Serialize;

use super::change::Change;
use super::invariants::{ask, to_add};
use super::spot::{self, EndpointNameError, word};
use super::topology::{self, Instances};
use crate::cloud::{Cloud, catalog};
use crate::config::Config;

/// A query: source, destination and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The source: `internet`, `203.0.113.9`, `bastion`, `web/1`.
    pub from: String,
    /// The destination.
    pub to: String,
    /// The TCP port; by default, the port of the destination.
    pub port: Option<Port>,
}

/// An invalid query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// An unknown name.
    #[error(transparent)]
    EndpointName(#[from] EndpointNameError),
    /// The part after the colon is not a port.
    #[error("`{0}` is not a port; ports are 1 to 65535")]
    Port(String),
    /// Unsupported.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl QueryError {
    /// A supported query.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::EndpointName(error) => Some(&error.hint),
            Self::Port(_) | Self::Flow(_) => None,
        }
    }
}

impl Query {
    /// Parses the words, such as `internet` and `lb:80`.
    ///
    /// # Errors
    /// [`QueryError::Port`] if the part after the colon is not a port.
    pub fn new(from: &str, to: &str) -> std::result::Result<Self, QueryError> {
        let (to, port) = match to.split_once(':') {
            // More than one colon is an IPv6 address, which is refused later.
            Some((name, port)) if !port.contains(':') => {
                let number = port.parse::<u16>().ok();
                let number = number.and_then(|number| Port::new(number).ok());
                let number = number.ok_or_else(|| QueryError::Port(port.to_owned()))?;
                (name, Some(number))
            }
            _ => (to, None),
        };
        Ok(Self {
            from: from.to_owned(),
            to: to.to_owned(),
            port,
        })
    }
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The source, as given.
    pub from: String,
    /// The destination, as given.
    pub to: String,
    /// The TCP port.
    pub port: Port,
    /// Whether all of it is reachable.
    pub reachable: bool,
    /// One answer per pair of endpoints: a service means all its instances.
    pub answers: Vec<Answer>,
}

/// The explanation of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The source.
    pub from: String,
    /// The destination.
    pub to: String,
    /// The path, and the rule that blocks it.
    pub verdict: Verdict,
    /// The symptom at the client, if it is blocked.
    pub seen: Option<&'static str>,
    /// The changes that would allow it, in the order of the blocks.
    pub changes: Vec<Change>,
}

/// Answers a query about the network of a configuration.
///
/// # Errors
/// [`QueryError`] for an unknown name or address.
pub fn explain(
    config: &Config,
    topology: &Topology,
    question: &Query,
) -> std::result::Result<Explanation, QueryError> {
    let from = spot::ends(&question.from, topology)?;
    let to = spot::ends(&question.to, topology)?;
    let port = question
        .port
        .or_else(|| port_of_single(config, topology, to.first()))
        .unwrap_or_else(|| usual_port(topology, to.first()));
    let mut answers = Vec::new();
    for from in &from {
        // Instances of a service are destinations of others, not of themselves.
        for to in to.iter().filter(|to| *to != from || from_is_to(question)) {
            let verdict = ask(topology, from, to, port)?;
            answers.push(Answer {
                from: word(from),
                to: word(to),
                seen: seen(&verdict),
                changes: to_add(config, &mut topology.clone(), &verdict.flow),
                verdict,
            });
        }
    }
    Ok(Explanation {
        from: question.from.clone(),
        to: question.to.clone(),
        port,
        reachable: answers.iter().all(|answer| answer.verdict.reachable()),
        answers,
    })
}

fn from_is_to(question: &Query) -> bool {
    question.from == question.to && question.from.contains('/')
}

/// The symptom of a blocked connection at the client.
pub(super) fn seen(verdict: &Verdict) -> Option<&'static str> {
    let block = verdict.block.as_ref()?;
    let forwarded = |hop: &Hop| matches!(hop.at, HopLocation::TargetGroup(_));
    Some(match block.code {
        Code::Elbv2ListenerPortRestriction | Code::Elbv2ListenersMismatch => {
            "nothing listens there: the connection is refused"
        }
        Code::Elbv2ListenerHasNoTg => "the balancer answers with status 503",
        _ if verdict.hops.iter().any(forwarded) => {
            "the balancer's own connection times out: it answers with status 504, and health checks fail \
             with Target.Timeout"
        }
        _ => "packets vanish: the connection times out",
    })
}

/// The port of a single instance.
fn port_of_single(config: &Config, topology: &Topology, to: Option<&End>) -> Option<Port> {
    let Some(End::Interface(name)) = to else {
        return None;
    };
    let interface = topology.interfaces.get(name)?;
    match &interface.role {
        Role::Service(service) if interface.public.is_some() => {
            config.service.get(service).map(|service| service.port)
        }
        _ => None,
    }
}

/// The default port of a destination.
fn usual_port(topology: &Topology, to: Option<&End>) -> Port {
    let number = match to {
        Some(End::Balancer(key)) => topology
            .balancers
            .get(key)
            .and_then(|balancer| balancer.listeners.values().next())
            .map(|listener| listener.port),
        Some(End::Interface(name)) => {
            let role = topology.interfaces.get(name).map(|it| &it.role);
            let mut groups = topology.target_groups.values();
            match role {
                Some(Role::Service(_)) => groups
                    .find(|group| group.targets.contains(name))
                    .map(|group| group.port),
                _ => Some(22),
            }
        }
        _ => None,
    };
    let port = number.and_then(|number| Port::new(number).ok());
    port.unwrap_or_else(|| Port::new(443).expect("443, where most of the internet is, is a port"))
}

/// The current network of a stack; `None` if it does not exist or has no VPC.
///
/// # Errors
/// When the resources cannot be listed, or there are several VPCs.
pub async fn live_topology<P: Cloud + ?Sized>(
    cloud: &P,
    stack: &StackName,
) -> Result<Option<Topology>> {
    let snapshot = catalog().snapshot(cloud, stack).await?;
    let mut instances = Instances::new();
    for (key, id) in topology::group_ids(&snapshot).map_err(unreadable)? {
        instances.insert(key, cloud.group_instances(&id).await?);
    }
    match topology::live(&snapshot, &instances) {
        Ok(topology) => Ok(Some(topology)),
        Err(AssembleError::NoVpc) => Ok(None),
        Err(error @ AssembleError::SeveralVpcs(_)) => Err(Error::new(
            ErrorKind::Invalid,
            format_args!("it is not clear which network of {stack} is meant: {error}"),
        )
        .hint(
            "`deploy` deletes the duplicate, for example from an interrupted run; `plan` shows it",
        )),
        Err(error @ (AssembleError::Spec(_) | AssembleError::LeftOut(_))) => Err(unreadable(error)),
    }
}

/// Fails for a network with unreadable parts.
fn unreadable(error: AssembleError) -> Error {
    Error::new(ErrorKind::Invalid, error)
}
