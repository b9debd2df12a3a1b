//! What is let through, declared once: network ACLs and security groups are both derived from it.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use landfall_provider::{Port, ResourceName};

/// Where a bastion and the instances behind it are logged in to.
pub(crate) const SSH: Port = port(22);
/// Where S3 is asked.
pub(crate) const HTTPS: Port = port(443);
const HTTP: Port = port(80);

const fn port(number: u16) -> Port {
    match std::num::NonZeroU16::new(number) {
        Some(number) => Port::from_non_zero(number),
        None => panic!("0 is no port"),
    }
}

/// Every port of a deployment that anybody may connect to, and who may.
///
/// What is not said here is not reachable. Health checks come from the balancer on the service's own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPorts {
    /// The balancer's ports, open to everybody.
    pub listeners: Vec<Port>,
    /// The services behind the balancer, which the balancer alone may ask.
    pub services: Vec<ServicePort>,
    /// Who may log in to the bastion, which may log in to the instances; `None` when there is no bastion.
    pub bastion_allow: Option<Vec<Ipv4Net>>,
    /// The ports of the internet that instances may connect to.
    pub egress: Vec<Port>,
}

/// A service and the port that its instances answer on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The service's name, which its security group gets.
    pub name: ResourceName,
    /// The port.
    pub port: Port,
}

impl OpenPorts {
    /// For one balancer in front of services: no bastion, and of the internet HTTPS and HTTP, where
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
