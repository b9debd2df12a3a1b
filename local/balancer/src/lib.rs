//! The application load balancer: a layer-7 proxy whose nodes live inside the public subnets.
//!
//! A [`Balancer`] has one node per zone. A node is one thread with its own runtime in the network namespace of its
//! zone, so the security groups apply to its traffic and its health checks. All nodes share a routing table, which is
//! replaced as a whole (`table`), and the turn of each target group, so requests alternate exactly across nodes.
//!
//! The behaviour is that of an AWS Application Load Balancer, as documented in the user guide "Elastic Load
//! Balancing: Application Load Balancers". A module that differs from it says so.
//!
//! **Architecture invariant:** this crate knows no providers and no records, so the balancer can run anywhere. A
//! request never takes a lock that another thread holds.
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

/// Moves the calling thread to its namespace; called once, before any socket is created.
pub type Pin = Box<dyn FnOnce() -> std::io::Result<()> + Send>;

/// A failed change of a balancer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The thread of a node could not be started in its namespace.
    #[error("starting the balancer's node {node} failed")]
    StartNode {
        /// The balancer and zone.
        node: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The zone already has a node.
    #[error("the balancer has a node in zone {0} already")]
    NodeExists(String),
    /// The zone has no node.
    #[error("the balancer has no node in zone {0}")]
    NoNode(String),
    /// A node's thread ended unexpectedly.
    #[error("a node of the balancer has ended unexpectedly; remove it and add it again")]
    NodeGone,
    /// A listener's port could not be bound.
    #[error("listening on {addr} failed")]
    Listen {
        /// The node's address and the listener's port.
        addr: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Two listeners have the same port.
    #[error("port {0} has more than one listener")]
    DuplicatePort(u16),
    /// A listener or a target refers to an unknown group.
    #[error("there is no target group {0}; set it before anything refers to it")]
    NoGroup(String),
    /// A listener still forwards to the group.
    #[error("the target group {group} is in use by the listener on port {port}; change that first")]
    GroupInUse {
        /// The group.
        group: String,
        /// The port of a listener that forwards to it.
        port: u16,
    },
    /// The target to deregister is not registered.
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
    /// Serializes changes of nodes and ports.
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
    /// The node's thread calls `pin` before it creates any socket.
    ///
    /// # Errors
    /// When the zone has a node, the thread cannot be started, or a port cannot be bound. Nothing is left behind
    /// then.
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

    /// Ends the node of a zone: the node accepts no new connections, and requests in flight may finish within
    /// `time_limit`.
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

    /// Replaces all listeners. Connections to a port without a listener may finish their current request.
    ///
    /// # Errors
    /// When two listeners have the same port or a group is unknown; nothing is changed then. When a node cannot bind
    /// a port; all other changes are in place then.
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
    /// When a listener still forwards to a removed group; nothing is changed then.
    pub fn set_groups(&self, groups: Vec<TargetGroupConfig>) -> Result<(), Error> {
        self.registry.set_groups(groups)
    }

    /// Registers a target and starts its health checks. Registering the same target again does nothing, unless its
    /// address has changed or it is draining: then it starts over.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn register(&self, group: &str, target: Target) -> Result<(), Error> {
        self.registry.register(group, target)
    }

    /// Deregisters a target. It gets no new requests from the moment this returns. The returned [`Drain`] ends when
    /// the target has no request in flight, or its group's deregistration delay is over; the target is gone then.
    /// Dropping the [`Drain`] does not stop the draining.
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

    /// The number of requests that the targets of a group have received.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn requests(&self, group: &str) -> Result<u64, Error> {
        self.registry.requests(group)
    }

    /// A number that changes with the health of any target. The number itself has no meaning.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.registry.watch()
    }

    /// Ends all nodes at the same time, each as [`Balancer::remove_node`] does.
    pub async fn shutdown(&self, time_limit: Duration) {
        let _setup = self.setup.lock().await;
        let nodes = self.registry.take_nodes();
        futures::future::join_all(nodes.into_iter().map(|node| node.stop(time_limit))).await;
    }
}
