//! A question about a connection and its answer: what passes it, what stops it, what would let it through.

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

/// Who wants to connect to whom, and on which port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The source: `internet`, `203.0.113.9`, `bastion`, `web/1`.
    pub from: String,
    /// Who is connected to.
    pub to: String,
    /// The TCP port; without one, that on which it is usually asked.
    pub port: Option<Port>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A word that stands for nothing.
    #[error(transparent)]
    EndpointName(#[from] EndpointNameError),
    /// What stands behind the colon is no port.
    #[error("`{0}` is not a port; ports are 1 to 65535")]
    Port(String),
    /// Nothing of this sort can be asked.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl QueryError {
    /// What to ask instead.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::EndpointName(error) => Some(&error.hint),
            Self::Port(_) | Self::Flow(_) => None,
        }
    }
}

impl Query {
    /// Takes the words apart: `internet` and `lb:80`.
    ///
    /// # Errors
    /// [`QueryError::Port`] when what stands behind the colon is no port.
    pub fn new(from: &str, to: &str) -> std::result::Result<Self, QueryError> {
        let (to, port) = match to.split_once(':') {
            // More than one colon is an IPv6 address, which is told as such later on.
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

/// What comes of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The source, as it was asked.
    pub from: String,
    /// Who is connected to, as it was asked.
    pub to: String,
    /// The TCP port.
    pub port: Port,
    /// Whether all of it is reachable.
    pub reachable: bool,
    /// An answer for each pair of ends: a service stands for all of its instances.
    pub answers: Vec<Answer>,
}

/// What comes of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The source.
    pub from: String,
    /// Who is connected to.
    pub to: String,
    /// The way, and what stops it.
    pub verdict: Verdict,
    /// What a client would see of it, where it does not get through.
    pub seen: Option<&'static str>,
    /// The changes that would let it through, in the order of what stops it.
    pub changes: Vec<Change>,
}

/// Answers a question about a network that the configuration describes, or once described.
///
/// # Errors
/// [`QueryError`] when a name or an address stands for nothing in this network.
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
        // A service's instances are asked about as others' goal, and not as their own.
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

/// What a client sees of a connection that is stopped.
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

/// The port of the one instance that clients ask themselves.
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

/// The port on which somebody is asked when nobody says otherwise.
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

/// The network that a stack holds now; `None` when there is no such stack, or none with a VPC.
///
/// # Errors
/// When the provider cannot list what there is, or there are several VPCs and it is not clear which is meant.
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

/// A network that cannot be shown in full is not shown at all.
fn unreadable(error: AssembleError) -> Error {
    Error::new(ErrorKind::Invalid, error)
}
