//! The application load balancer: a layer-7 proxy whose nodes live inside the public subnets.
//!
//! A [`Balancer`] has one node per zone. A node is one thread with a runtime of its own, inside its
//! zone's network namespace, so that both its traffic and its health checks pass the security
//! groups. What the nodes share is a routing table that is replaced as a whole (`table`) and the
//! turn of each target group, so that requests alternate exactly whichever node they come in by.
//!
//! The behaviour is that of an AWS Application Load Balancer as documented in the user guide
//! "Elastic Load Balancing: Application Load Balancers"; where a module goes its own way it says so.
//!
//! **Architecture invariant:** nothing here knows of providers or records; the balancer could serve
//! anywhere. A request takes no lock that another thread ever holds.
#![cfg(target_os = "linux")]

mod check;
mod chunks;
mod client;
mod client_stream;
mod config;
mod fault;
mod forward;
mod head;
mod headers;
mod health;
mod linger;
mod meter;
mod node;
mod proxy;
mod registry;
mod request_body;
mod respond;
mod response_body;
mod room;
mod rules;
mod small_write;
mod table;
mod target_stream;
#[cfg(test)]
mod tests;
mod thread;
mod tunnel;
mod upstream;
mod worker;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

pub use config::{
    Attributes, Condition, HealthCheckConfig, ListenerConfig, Matcher, Rule, Target,
    TargetGroupConfig,
};
pub use forward::{Forward, Forwarder};
pub use health::{HealthState, Reason, TargetHealth};
pub use registry::Drain;

use node::ZoneNode;
use registry::Registry;

/// Moves the calling thread to where it has to work; called once, before any socket is made.
pub type Pin = Box<dyn FnOnce() -> std::io::Result<()> + Send>;

/// What can go wrong when a balancer is set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The thread of a node could not be started in its namespace.
    #[error("starting the balancer's node {node} failed")]
    StartNode {
        /// The balancer and zone.
        node: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A zone has a node already.
    #[error("the balancer has a node in zone {0} already")]
    NodeExists(String),
    /// There is no node in this zone.
    #[error("the balancer has no node in zone {0}")]
    NoNode(String),
    /// A node's thread has ended on its own.
    #[error("a node of the balancer has ended unexpectedly; remove it and add it again")]
    NodeGone,
    /// A listener's port could not be bound.
    #[error("listening on {addr} failed")]
    Listen {
        /// The node's address and the listener's port.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Two listeners have the same port.
    #[error("port {0} has more than one listener")]
    DuplicatePort(u16),
    /// A listener or a target refers to a group that has not been set.
    #[error("there is no target group {0}; set it before anything refers to it")]
    NoGroup(String),
    /// A group cannot go while a listener forwards to it.
    #[error("the target group {group} is in use by the listener on port {port}; change that first")]
    GroupInUse {
        /// The group.
        group: String,
        /// The port of a listener that forwards to it.
        port: u16,
    },
    /// There is no such target to deregister.
    #[error("the target {target} is not registered in the target group {group}")]
    NotRegistered {
        /// The group.
        group: String,
        /// The id of the target.
        target: String,
    },
}

/// A load balancer. Its methods have to be called inside a tokio runtime.
///
/// Dropping it ends all its connections at once; [`Balancer::shutdown`] lets them finish.
pub struct Balancer {
    name: String,
    registry: Arc<Registry>,
    /// One change of nodes or ports at a time.
    setup: Mutex<()>,
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Balancer {
    /// A balancer without nodes, listeners and groups.
    pub fn new(name: impl Into<String>, attributes: Attributes) -> Self {
        Self {
            name: name.into(),
            registry: Registry::new(attributes),
            setup: Mutex::default(),
        }
    }

    /// Starts a node in a zone, listening on `bind` at every listener's port.
    ///
    /// `pin` is called on the node's thread before it makes any socket.
    ///
    /// # Errors
    /// When the zone has a node, the thread cannot be started, or a port cannot be bound; no node
    /// is left behind then.
    pub async fn add_node(&self, zone: &str, bind: Ipv4Addr, pin: Pin) -> Result<(), Error> {
        let _setup = self.setup.lock().await;
        if self.registry.has_node(zone) {
            return Err(Error::NodeExists(zone.into()));
        }
        let name = format!("{}-{zone}", self.name);
        let node = ZoneNode::start(name, bind, pin, Arc::clone(&self.registry.shared)).await?;
        if let Err(error) = node.listen(self.registry.ports()).await {
            node.stop(Duration::ZERO).await;
            return Err(error);
        }
        self.registry.add_node(zone, node);
        Ok(())
    }

    /// Ends the node of a zone: no new connections, and `patience` for the requests in flight.
    ///
    /// # Errors
    /// When the zone has no node.
    pub async fn remove_node(&self, zone: &str, time_limit: Duration) -> Result<(), Error> {
        let _setup = self.setup.lock().await;
        let node = self
            .registry
            .take_node(zone)
            .ok_or_else(|| Error::NoNode(zone.into()))?;
        node.stop(time_limit).await;
        Ok(())
    }

    /// Replaces all listeners. Connections to a port that no longer has one may finish the request
    /// they are in.
    ///
    /// # Errors
    /// When two have the same port or a group is unknown, with nothing changed; when a node cannot
    /// bind a port, with the rest in place.
    pub async fn set_listeners(&self, listeners: Vec<ListenerConfig>) -> Result<(), Error> {
        let _setup = self.setup.lock().await;
        let mut ports = BTreeSet::new();
        if let Some(twice) = listeners
            .iter()
            .find(|listener| !ports.insert(listener.port))
        {
            return Err(Error::DuplicatePort(twice.port));
        }
        let bindings = self.registry.set_listeners(listeners)?;
        let mut result = Ok(());
        for binding in bindings {
            result = result.and(binding.await);
        }
        result
    }

    /// Replaces all target groups; a group that keeps its name keeps its targets.
    ///
    /// # Errors
    /// When a group that would go is still forwarded to, with nothing changed.
    pub fn set_groups(&self, groups: Vec<TargetGroupConfig>) -> Result<(), Error> {
        self.registry.set_groups(groups)
    }

    /// Registers a target and starts checking it. Registering it again as it is does nothing;
    /// with another address, or while it drains, it starts over.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn register(&self, group: &str, target: Target) -> Result<(), Error> {
        self.registry.register(group, target)
    }

    /// Deregisters a target: it gets no new requests from the moment this returns, and is gone when
    /// the returned [`Drain`] ends, which is when it has no request in flight any more or its
    /// group's deregistration delay is over. Dropping the [`Drain`] does not stop the draining.
    ///
    /// # Errors
    /// When there is no such group or target.
    pub fn deregister(&self, group: &str, target: &str) -> Result<Drain, Error> {
        self.registry.deregister(group, target)
    }

    /// The health of a group's targets, in the order of their ids.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn health(&self, group: &str) -> Result<Vec<TargetHealth>, Error> {
        self.registry.health(group)
    }

    /// How many requests the targets of a group have got so far.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn requests(&self, group: &str) -> Result<u64, Error> {
        self.registry.requests(group)
    }

    /// Changes whenever the health of any target does; the number itself means nothing.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.registry.watch()
    }

    /// Ends all nodes as [`Balancer::remove_node`] does, side by side.
    pub async fn shutdown(&self, time_limit: Duration) {
        let _setup = self.setup.lock().await;
        let nodes = self.registry.take_nodes();
        futures::future::join_all(nodes.into_iter().map(|node| node.stop(time_limit))).await;
    }
}
