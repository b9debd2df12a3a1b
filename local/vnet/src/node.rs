//! One network namespace of the fabric, and the record of its configuration.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use std::{fmt, fs, io, thread};

use super::layout::{Link, NamespaceLayout, NodeId};
use super::{Error, Result};
use crate::netlink::Netlink;
use crate::netlink::ruleset::Ruleset;
use landfall_kernel::netns::Namespace;

/// Settings of every namespace: no IPv6; no checks that do not fit links without networks; and the congestion control
/// that every kernel has and every user may choose. The machine's default may pace packets, which only costs time on
/// links without delay.
///
/// A new namespace may inherit settings of the machine, so all relevant ones are set.
const EVERYWHERE: &[(&str, &str)] = &[
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/tcp_congestion_control", "reno"),
];

/// Settings of namespaces that forward. The packet filter checks sources; `accept_local` saves the kernel a second
/// lookup in the routing tables for every packet.
const FORWARDING: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv4/ip_early_demux", "0"),
    ("ipv4/conf/all/accept_local", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
];

/// Settings of the internet, which forwards between VPCs and has its own hosts. Responses get the mark of a gateway
/// endpoint from the packets that they answer.
const INTERNET: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/tcp_fwmark_accept", "1"),
    ("ipv4/fwmark_reflect", "1"),
    ("ipv4/ip_unprivileged_port_start", "0"),
];

/// Settings of interfaces: a service may use any port without being root.
const INTERFACE: &[(&str, &str)] = &[("ipv4/ip_unprivileged_port_start", "0")];

/// Settings of connection tracking, which exist once rules use it. Closed connections are forgotten before a busy
/// balancer fills the table, and packets outside of the window are not invalid.
const TRACKING: &[(&str, &str)] = &[
    ("netfilter/nf_conntrack_tcp_timeout_time_wait", "10"),
    ("netfilter/nf_conntrack_tcp_timeout_close", "5"),
    ("netfilter/nf_conntrack_tcp_be_liberal", "1"),
];

/// The limit on the time until a link is in service. The kernel takes microseconds, unless its worker threads get no
/// processor.
const SENDING_DEADLINE: Duration = Duration::from_secs(10);

/// The interval between two checks.
const SENDING_INTERVAL: Duration = Duration::from_millis(1);

/// A namespace and the record of its configuration.
pub(super) struct LiveNode {
    name: String,
    namespace: Namespace,
    netlink: Netlink,
    current: NamespaceLayout,
}

impl LiveNode {
    /// Creates an empty namespace.
    pub(super) fn create(id: &NodeId) -> Result<Self> {
        let name = id.to_string();
        let setup = || {
            let (filters, settings) = match id {
                NodeId::Internet => (true, INTERNET),
                NodeId::Router(_) | NodeId::NatGateway(_) => (true, FORWARDING),
                NodeId::Interface(_) => (false, INTERFACE),
            };
            set(EVERYWHERE)?;
            set(settings)?;
            let mut netlink = Netlink::open();
            if filters {
                netlink = netlink.and_then(Netlink::with_nftables);
            }
            Ok(netlink)
        };
        let (namespace, netlink) = Namespace::create(setup).map_err(|source| Error::Namespace {
            node: name.clone(),
            source,
        })?;
        let netlink = netlink.map_err(|source| Error::Kernel {
            node: name.clone(),
            source,
        })?;
        Ok(Self {
            name,
            namespace,
            netlink,
            current: NamespaceLayout::default(),
        })
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The number of requests to the kernel for this namespace.
    #[cfg(test)]
    pub(super) fn requests(&mut self) -> u32 {
        self.netlink.requests()
    }

    /// The recorded configuration.
    #[cfg(test)]
    pub(super) fn current(&self) -> &NamespaceLayout {
        &self.current
    }

    pub(super) fn links(&self) -> &BTreeMap<u32, Link> {
        &self.current.links
    }

    /// Installs all rules at once.
    pub(super) fn install(&mut self, desired: &Ruleset) -> Result<()> {
        let first = self.current.ruleset == Ruleset::default() && *desired != Ruleset::default();
        let result = self.netlink.install(&self.current.ruleset, desired);
        self.refused(result)?;
        self.current.ruleset = desired.clone();
        let tracks = desired.sets.contains_key("states");
        if first && tracks {
            let entered = self.namespace.enter(|| set(TRACKING));
            entered
                .and_then(|set| set)
                .map_err(|source| Error::Namespace {
                    node: self.name.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Adds a link to a peer.
    pub(super) fn add_link(&mut self, link: &Link, peer: &Namespace) -> Result<()> {
        let result = self.netlink.add_veth(&link.here, &link.there, peer.as_fd());
        self.refused(result)?;
        self.current.links.insert(link.here.index, link.clone());
        Ok(())
    }

    /// Brings up the end of a link that another namespace added.
    pub(super) fn bring_up(&mut self, index: u32) -> Result<()> {
        let result = self.netlink.set_link_up(index);
        self.refused(result)
    }

    /// Waits until a link sends. Both of its ends have been brought up before.
    pub(super) fn wait_until_sending(&mut self, index: u32) -> Result<()> {
        let deadline = Instant::now() + SENDING_DEADLINE;
        loop {
            let result = self.netlink.is_sending(index);
            if self.refused(result)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Silent {
                    node: self.name.clone(),
                    link: self.current.links[&index].here.name.clone(),
                });
            }
            thread::sleep(SENDING_INTERVAL);
        }
    }

    /// Deletes a link, and returns it.
    pub(super) fn delete_link(&mut self, index: u32) -> Result<Link> {
        let result = self.netlink.delete_link(index);
        self.refused(result)?;
        self.forget_link(index);
        let link = self.current.links.remove(&index);
        Ok(link.expect("the caller took the index from the links"))
    }

    /// Removes the records of everything that the kernel deletes with a link.
    pub(super) fn forget_link(&mut self, index: u32) {
        self.current.addresses.retain(|(link, _)| *link != index);
        self.current
            .neighbours
            .retain(|(link, _), _| *link != index);
        self.current
            .routes
            .retain(|_, route| route.hop.link() != Some(index));
    }

    /// Deletes rules, routes and addresses that `desired` lacks or has with other values.
    pub(super) fn delete_missing(&mut self, desired: &NamespaceLayout) -> Result<()> {
        let stale: Vec<_> = self
            .current
            .rules
            .difference(&desired.rules)
            .cloned()
            .collect();
        for rule in stale {
            let result = self.netlink.delete_rule(&rule);
            self.refused(result)?;
            self.current.rules.remove(&rule);
        }
        let stale: Vec<_> = self
            .current
            .routes
            .iter()
            .filter(|(key, _)| !desired.routes.contains_key(key))
            .map(|(key, route)| (*key, *route))
            .collect();
        for ((table, to), route) in stale {
            let result = self.netlink.delete_route(table, to, route);
            self.refused(result)?;
            self.current.routes.remove(&(table, to));
        }
        let stale: Vec<_> = self
            .current
            .addresses
            .difference(&desired.addresses)
            .copied()
            .collect();
        for (index, address) in stale {
            let result = self.netlink.delete_address(index, address);
            self.refused(result)?;
            self.current.addresses.remove(&(index, address));
            // The kernel deletes the routes with this source.
            self.current
                .routes
                .retain(|_, route| route.source != Some(address));
        }
        Ok(())
    }

    /// Adds the missing configuration.
    pub(super) fn add_missing(&mut self, desired: &NamespaceLayout) -> Result<()> {
        for (index, address) in &desired.addresses {
            if !self.current.addresses.contains(&(*index, *address)) {
                let result = self.netlink.add_address(*index, *address);
                self.refused(result)?;
                self.current.addresses.insert((*index, *address));
            }
        }
        for ((index, address), mac) in &desired.neighbours {
            if self.current.neighbours.get(&(*index, *address)) != Some(mac) {
                let result = self.netlink.set_neighbour(*index, *address, *mac);
                self.refused(result)?;
                self.current.neighbours.insert((*index, *address), *mac);
            }
        }
        for ((table, to), route) in &desired.routes {
            if self.current.routes.get(&(*table, *to)) != Some(route) {
                let result = self.netlink.set_route(*table, *to, *route);
                self.refused(result)?;
                self.current.routes.insert((*table, *to), *route);
            }
        }
        for rule in &desired.rules {
            if !self.current.rules.contains(rule) {
                let result = self.netlink.add_rule(rule);
                self.refused(result)?;
                self.current.rules.insert(rule.clone());
            }
        }
        Ok(())
    }

    fn refused<T>(&self, result: crate::netlink::Result<T>) -> Result<T> {
        result.map_err(|source| Error::Kernel {
            node: self.name.clone(),
            source,
        })
    }
}

/// Changes settings of the network namespace of the calling thread.
fn set(settings: &[(&str, &str)]) -> io::Result<()> {
    for (name, value) in settings {
        let path = format!("/proc/sys/net/{name}");
        match fs::write(&path, value) {
            Ok(()) => {}
            // A kernel without IPv6 has no switch for it, and a kernel may lack the timeouts of connection tracking.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !name.starts_with("ipv4/") => {
            }
            Err(error) => {
                let text = format!("cannot write {value} to {path}: {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    Ok(())
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet => f.write_str("the internet"),
            Self::Router(id) => write!(f, "{id}"),
            Self::NatGateway(id) => write!(f, "{id}"),
            Self::Interface(id) => write!(f, "{id}"),
        }
    }
}
