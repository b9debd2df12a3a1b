//! The open ports, declared once: network ACLs and security groups are both derived from them.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_provider::{Port, ResourceName};

/// The login port of the bastion and of the instances behind it.
pub(crate) const SSH: Port = port(22);
/// The port of S3.
pub(crate) const HTTPS: Port = port(443);
const HTTP: Port = port(80);

const fn port(number: u16) -> Port {
    match std::num::NonZeroU16::new(number) {
        Some(number) => Port::from_non_zero(number),
        None => panic!("0 is no port"),
    }
}

/// Every open port of a deployment, and the clients that may connect to it.
///
/// All other ports are closed. Health checks come from the balancer on the service's own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPorts {
    /// The balancer's ports, open to all clients.
    pub listeners: Vec<Port>,
    /// The services behind the balancer; only the balancer may connect to them.
    pub services: Vec<ServicePort>,
    /// The addresses that may log in to the bastion, which may log in to the instances; `None`
    /// without a bastion.
    pub bastion_allow: Option<Vec<Ipv4Net>>,
    /// The ports that instances may connect to on the internet.
    pub egress: Vec<Port>,
}

/// A service and the port of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The service's name, and the name of its security group.
    pub name: ResourceName,
    /// The port.
    pub port: Port,
}

impl OpenPorts {
    /// For one balancer in front of services: no bastion, and HTTPS and HTTP on the internet, where
    /// images, packages and most interfaces are.
    pub fn new(listeners: Vec<Port>, services: Vec<ServicePort>) -> Self {
        Self {
            listeners,
            services,
            bastion_allow: None,
            egress: vec![HTTPS, HTTP],
        }
    }
}

/// The ports in order, each once.
pub(crate) fn set(ports: &[Port]) -> BTreeSet<Port> {
    ports.iter().copied().collect()
}
