//! The network of the embedded cloud: VPCs, gateways and the internet as network namespaces.
//!
//! A [`Topology`] describes the desired network. `layout` and `ruleset` lower it to the content of each namespace,
//! without the kernel; [`Fabric::apply`] changes the kernel.
#![cfg(target_os = "linux")]

mod layout;
mod netlink;
mod node;
mod numbers;
mod ruleset;
mod topology;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;

use self::layout::{Layout, NodeId, VpcNumbers};
pub use self::layout::{S3_ADDRESS, endpoint_addresses};
pub use self::netlink::Error as NetlinkError;
use self::node::LiveNode;
pub use self::topology::{
    GroupRule, GroupRulePeer, Interface, InterfaceId, LoweredAclEntry, NatGateway, NetworkAcl,
    NextHop, RouteTable, SecurityGroup, Subnet, Topology, Traffic, Vpc,
};
use landfall_kernel::netns::Namespace;

/// A failed change of the fabric.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topology has faults. Nothing was changed.
    #[error("the network cannot be built: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A namespace could not be created or entered.
    #[error("cannot make a network namespace for {node}")]
    Namespace {
        /// The namespace.
        node: String,
        /// The system's error.
        source: io::Error,
    },
    /// A new link is not in service yet, after the time limit.
    #[error("the link {link} of {node} does not come into service")]
    Silent {
        /// The namespace.
        node: String,
        /// The link.
        link: String,
    },
    /// The kernel refused a change. Earlier changes are in force; the next `apply` continues.
    #[error("cannot configure the network of {node}")]
    Kernel {
        /// The namespace.
        node: String,
        /// The refused request.
        source: NetlinkError,
    },
}

/// The result of changing the fabric.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The current network: every namespace and its recorded configuration.
///
/// No other program changes these namespaces, so the record is the configuration. Dropping this value removes all of
/// it, except namespaces that others still hold.
pub struct Fabric {
    vpc_numbers: VpcNumbers,
    nodes: BTreeMap<NodeId, LiveNode>,
    internet: Namespace,
}

impl Fabric {
    /// A fabric that contains only the internet.
    ///
    /// # Errors
    ///
    /// When the caller may not create network namespaces, or the kernel lacks a required feature.
    pub fn new() -> Result<Self> {
        let internet = LiveNode::create(&NodeId::Internet)?;
        let mut fabric = Self {
            vpc_numbers: VpcNumbers::new(),
            internet: internet.namespace().clone(),
            nodes: [(NodeId::Internet, internet)].into(),
        };
        fabric.apply(&Topology::default())?;
        Ok(fabric)
    }

    /// Changes the current network to the desired one. Blocks for some milliseconds.
    ///
    /// Unchanged parts are not touched, and their connections continue. A second call with the same topology does
    /// nothing.
    ///
    /// # Errors
    ///
    /// When the topology has faults, or the kernel refuses a change. After a refusal, the next call continues.
    pub fn apply(&mut self, desired: &Topology) -> Result<()> {
        let faults = desired.faults();
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let vpc_numbers = layout::vpc_numbers(&self.vpc_numbers, desired);
        let layout = layout::layout(desired, &vpc_numbers);
        self.vpc_numbers = vpc_numbers;
        self.delete_links(&layout)?;
        self.nodes.retain(|id, _| layout.contains_key(id));
        for (id, desired) in &layout {
            if !self.nodes.contains_key(id) {
                self.nodes.insert(id.clone(), LiveNode::create(id)?);
            }
            let node = self
                .nodes
                .get_mut(id)
                .expect("it was made if it was missing");
            // The filter comes before the links, so that no packet passes without rules.
            node.install(&desired.ruleset)?;
            node.delete_missing(desired)?;
        }
        let added = self.add_links(&layout)?;
        for (id, desired) in &layout {
            let node = self.nodes.get_mut(id).expect("all were made above");
            node.add_missing(desired)?;
        }
        for (id, index) in added {
            let node = self.nodes.get_mut(id).expect("it got a link");
            node.wait_until_sending(index)?;
        }
        Ok(())
    }

    /// The namespace of an interface, if the applied topology has it.
    pub fn namespace(&self, interface: &InterfaceId) -> Option<&Namespace> {
        let node = self.nodes.get(&NodeId::Interface(interface.clone()));
        node.map(LiveNode::namespace)
    }

    /// The namespace of a NAT gateway, if the applied topology has it.
    pub fn nat_gateway(&self, id: &landfall_provider::NatGatewayId) -> Option<&Namespace> {
        let node = self.nodes.get(&NodeId::NatGateway(id.clone()));
        node.map(LiveNode::namespace)
    }

    /// The namespace of the hosts on the internet.
    pub fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// Deletes links that are not desired, or have another peer.
    ///
    /// If both namespaces go, the kernel deletes their link, which is faster.
    fn delete_links(&mut self, layout: &Layout) -> Result<()> {
        let mut deleted = Vec::new();
        for (id, node) in &mut self.nodes {
            let desired = layout.get(id);
            let stale: Vec<u32> = node
                .links()
                .iter()
                .filter(|(index, link)| {
                    desired.and_then(|desired| desired.links.get(index)) != Some(*link)
                })
                .filter(|(_, link)| desired.is_some() || layout.contains_key(&link.peer))
                .map(|(index, _)| *index)
                .collect();
            for index in stale {
                deleted.push(node.delete_link(index)?);
            }
        }
        for link in deleted {
            if let Some(peer) = self.nodes.get_mut(&link.peer) {
                peer.forget_link(link.there.index);
            }
        }
        Ok(())
    }

    /// Adds missing links, and returns them.
    fn add_links<'a>(&mut self, layout: &'a Layout) -> Result<Vec<(&'a NodeId, u32)>> {
        let mut added = Vec::new();
        for (id, desired) in layout {
            for (index, link) in &desired.links {
                if self.nodes[id].links().contains_key(index) {
                    continue;
                }
                let peer = self.nodes[&link.peer].namespace().clone();
                let node = self.nodes.get_mut(id).expect("all were made before");
                node.add_link(link, &peer)?;
                let peer = self.nodes.get_mut(&link.peer).expect("looked up above");
                if let Err(error) = peer.bring_up(link.there.index) {
                    // Without this, the next attempt would see the half link as complete.
                    let node = self.nodes.get_mut(id).expect("it was there above");
                    node.delete_link(*index)?;
                    return Err(error);
                }
                added.push((id, *index));
            }
        }
        Ok(added)
    }
}
