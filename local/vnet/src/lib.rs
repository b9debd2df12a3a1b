//! The network of the embedded cloud: VPCs, gateways and the internet as network namespaces.
//!
//! A [`Topology`] says what should be there. `layout` and `ruleset` lower it, without touching
//! the kernel, to what each namespace holds; [`Fabric::apply`] brings the kernel there.
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
    AclEntry, GroupRule, GroupRulePeer, Interface, InterfaceId, NatGateway, NetworkAcl, NextHop,
    RouteTable, SecurityGroup, Subnet, Topology, Traffic, Vpc,
};
use landfall_kernel::netns::Namespace;

/// Why the fabric could not become what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topology contradicts itself. Nothing was changed.
    #[error("the network cannot be built: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A namespace could not be made or entered.
    #[error("cannot make a network namespace for {node}")]
    Namespace {
        /// What it was for.
        node: String,
        /// Why.
        source: io::Error,
    },
    /// A new link was not put into service in time. It may be later.
    #[error("the link {link} of {node} does not come into service")]
    Silent {
        /// Which namespace.
        node: String,
        /// Which link.
        link: String,
    },
    /// The kernel refused a change. Those before it are in force; applying again goes on.
    #[error("cannot configure the network of {node}")]
    Kernel {
        /// Which namespace.
        node: String,
        /// What was refused.
        source: NetlinkError,
    },
}

/// The result of changing the fabric.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The network as it is: every namespace, and what has been put into it.
///
/// Nobody else changes these namespaces' configuration, so what was put in is what is there. All
/// of it goes with this value, but for namespaces that others still hold.
pub struct Fabric {
    vpc_numbers: VpcNumbers,
    nodes: BTreeMap<NodeId, LiveNode>,
    internet: Namespace,
}

impl Fabric {
    /// A fabric with the internet, and nothing on it.
    ///
    /// # Errors
    ///
    /// When the caller may not make network namespaces, or the kernel lacks what they need.
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

    /// Brings the network from what it is to what is wanted. Blocks for some milliseconds.
    ///
    /// What is the same in both is not touched, and connections over it go on. Applied twice, the
    /// second does nothing.
    ///
    /// # Errors
    ///
    /// When the topology has faults, or the kernel refuses a change. After the latter, applying
    /// again continues where it stopped.
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
            // The filter comes before the links, so that no packet passes undetermined.
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

    /// The namespace in which the hosts of the internet are.
    pub fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// Deletes links that should not be there, or should lead somewhere else.
    ///
    /// A link between two namespaces that both go is left to the kernel, which is faster.
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

    /// Adds links that are missing, and says which they are.
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
                    // Half a link would count as there when this is tried again.
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
