//! A flow: its source, its destination and its port.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::Key;
use serde::{Deserialize, Serialize};

use super::topology::Topology;
use crate::EndpointService;
use crate::traffic::{PortRange, Protocol};

/// A possible connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// The source, which opens the connection.
    pub from: End,
    /// The destination.
    pub to: End,
    /// TCP, UDP or ICMP.
    pub protocol: Protocol,
    /// The destination ports, most often one; without a meaning for ICMP. If only some of the ports
    /// arrive, the flow is reachable in part.
    pub ports: PortRange,
    /// The source ports; `None` for the range that the system of `from` uses, see
    /// [`trace`](super::trace()).
    pub source_ports: Option<PortRange>,
}

impl Flow {
    /// A TCP connection to one port, from any source port.
    pub fn tcp(from: End, to: End, port: u16) -> Self {
        Self {
            from,
            to,
            protocol: Protocol::Tcp,
            ports: PortRange {
                from: port,
                to: port,
            },
            source_ports: None,
        }
    }

    /// Every port of a protocol.
    pub fn all_ports(from: End, to: End, protocol: Protocol) -> Self {
        Self {
            from,
            to,
            protocol,
            ports: PortRange::ALL,
            source_ports: None,
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.from, self.to)?;
        match self.protocol {
            Protocol::Tcp => write!(f, ":{}", self.ports),
            Protocol::Udp => write!(f, ":{} (UDP)", self.ports),
            Protocol::Icmp => f.write_str(" (ICMP)"),
            Protocol::All => f.write_str(" (any protocol)"),
        }
    }
}

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All hosts outside: all public addresses except those of the VPC's own resources and of the
    /// services with endpoints in it.
    Internet,
    /// The same except these addresses.
    InternetExcept(Vec<Ipv4Net>),
    /// These addresses: of hosts outside, or one address of a resource in the VPC, private or
    /// public.
    Addresses(Ipv4Net),
    /// An interface by its name. Its private address is used if the other end is in the VPC.
    Interface(String),
    /// A load balancer. As destination: its listeners at its public addresses, and the targets
    /// behind them. As source: its own connections to a target's port or health port.
    Balancer(Key),
    /// A NAT gateway.
    NatGateway(Key),
    /// A service, by the addresses in its prefix list.
    Service(EndpointService),
}

impl From<Ipv4Addr> for End {
    fn from(address: Ipv4Addr) -> Self {
        Self::Addresses(address.into())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet => f.write_str("internet"),
            Self::InternetExcept(nets) => {
                let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
                write!(f, "internet except {}", nets.join(", "))
            }
            Self::Addresses(net) if net.prefix_len() == 32 => net.addr().fmt(f),
            Self::Addresses(net) => net.fmt(f),
            Self::Interface(name) => f.write_str(name),
            Self::Balancer(key) | Self::NatGateway(key) => key.fmt(f),
            Self::Service(EndpointService::S3) => f.write_str("s3"),
        }
    }
}

/// The reason why a flow cannot be traced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// An end that the topology does not contain.
    #[error("this network has no {end}; it has {}", list(.known))]
    Unknown {
        /// The end.
        end: End,
        /// The existing ends of the same sort.
        known: Vec<String>,
    },
    /// Addresses of the VPC that do not belong to one interface.
    #[error("{0} is in the VPC, and not the address of one interface; name the interface")]
    NotOne(Ipv4Net),
    /// Addresses that no host can send from.
    #[error("{0} is neither in the VPC nor public, so it cannot send packets")]
    Nowhere(Ipv4Net),
    /// A port range whose ends are in the wrong order.
    #[error("ports {0} are none")]
    Ports(PortRange),
    /// An end without any address left.
    #[error("{0} is nobody")]
    Nobody(End),
    /// A rule may apply to every protocol; a packet has exactly one.
    #[error("a flow is TCP, UDP or ICMP")]
    Protocol,
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.join(", ")
}

impl Flow {
    /// Checks that both ends are in the topology.
    pub(super) fn check(&self, topology: &Topology) -> Result<(), FlowError> {
        if self.protocol == Protocol::All {
            return Err(FlowError::Protocol);
        }
        let ports = [Some(self.ports), self.source_ports];
        if let Some(ports) = ports.iter().flatten().find(|it| it.from > it.to) {
            return Err(FlowError::Ports(*ports));
        }
        self.from.check(topology)?;
        self.to.check(topology)
    }
}

impl End {
    fn check(&self, topology: &Topology) -> Result<(), FlowError> {
        let found = match self {
            Self::Internet | Self::InternetExcept(_) | Self::Addresses(_) => true,
            Self::Interface(name) => topology.interfaces.contains_key(name),
            Self::Balancer(key) => topology.balancers.contains_key(key),
            Self::NatGateway(key) => topology.nat_gateways.contains_key(key),
            Self::Service(service) => {
                let mut endpoints = topology.endpoints.values();
                endpoints.any(|endpoint| endpoint.service == *service)
            }
        };
        if found {
            return Ok(());
        }
        Err(FlowError::Unknown {
            end: self.clone(),
            known: self.alternatives(topology),
        })
    }

    /// The names of the ends of the same sort.
    fn alternatives(&self, topology: &Topology) -> Vec<String> {
        fn names<K: fmt::Display>(keys: impl Iterator<Item = K>) -> Vec<String> {
            keys.map(|key| key.to_string()).collect()
        }
        match self {
            Self::Internet | Self::InternetExcept(_) | Self::Addresses(_) => Vec::new(),
            Self::Interface(_) => names(topology.interfaces.keys()),
            Self::Balancer(_) => names(topology.balancers.keys()),
            Self::NatGateway(_) => names(topology.nat_gateways.keys()),
            Self::Service(_) => names(topology.endpoints.keys()),
        }
    }
}
