//! Remedies: the least change that lets a packet pass an obstacle, as data that can be shown and
//! applied.

use std::fmt;

use ipnet::Ipv4Net;
use landfall_provider::{Key, ResourceName, kind};
use serde::{Deserialize, Serialize};

use super::topology::{Address, RouteTable, Target, Topology};
use super::verdict::{shown, traffic};
use crate::network_acl::{AclAction, AclEntry};
use crate::security_group_rules::{Peer, SecurityRule};
use crate::traffic::Direction;

/// A change to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// Add a rule to a security group.
    AddGroupRule {
        /// The group.
        group: Key,
        /// The rule.
        rule: SecurityRule<Key>,
    },
    /// Add an entry to a network ACL. Its number is free, and lower than that of the denying entry.
    AddAclEntry {
        /// The ACL.
        acl: Key,
        /// The entry.
        entry: AclEntry,
    },
    /// Add a route, or change the target of the route with the same destination.
    SetRoute {
        /// The route table.
        table: Key,
        /// The destination.
        destination: Ipv4Net,
        /// Its target.
        via: Target,
    },
    /// Remove a route.
    RemoveRoute {
        /// The route table.
        table: Key,
        /// The route's destination.
        destination: Ipv4Net,
    },
    /// Give a subnet with the VPC's main table its own table, with a route.
    AddRouteTable {
        /// The table's key, which is unused.
        table: Key,
        /// The subnet.
        subnet: Key,
        /// The destination.
        destination: Ipv4Net,
        /// Its target.
        via: Target,
    },
    /// Attach an internet gateway to the VPC.
    AttachInternetGateway {
        /// The gateway's key.
        gateway: Key,
    },
    /// Give an interface a public address.
    AddPublicAddress {
        /// The interface.
        interface: String,
    },
    /// Put an interface into a target group.
    AddTarget {
        /// The target group.
        target_group: Key,
        /// The interface.
        interface: String,
    },
}

impl Remedy {
    /// Applies the change. If its resource does not exist, nothing changes.
    pub fn apply(&self, topology: &mut Topology) {
        match self {
            Self::AddGroupRule { group, rule } => {
                if let Some(group) = topology.security_groups.get_mut(group) {
                    group.rules.push(rule.clone());
                }
            }
            Self::AddAclEntry { acl, entry } => {
                if let Some(acl) = topology.network_acls.get_mut(acl) {
                    acl.entries.push(entry.clone());
                }
            }
            Self::SetRoute {
                table,
                destination,
                via,
            } => {
                if let Some(table) = topology.route_tables.get_mut(table) {
                    table.routes.insert(*destination, via.clone());
                }
            }
            Self::RemoveRoute { table, destination } => {
                if let Some(table) = topology.route_tables.get_mut(table) {
                    table.routes.remove(destination);
                }
            }
            Self::AddRouteTable {
                table,
                subnet,
                destination,
                via,
            } => {
                if let Some(subnet) = topology.subnets.get_mut(subnet) {
                    subnet.route_table = Some(table.clone());
                    let routes = [(*destination, via.clone())].into();
                    topology
                        .route_tables
                        .insert(table.clone(), RouteTable { routes });
                }
            }
            Self::AttachInternetGateway { gateway } => {
                topology.internet_gateway = Some(gateway.clone());
            }
            Self::AddPublicAddress { interface } => {
                if let Some(interface) = topology.interfaces.get_mut(interface) {
                    interface.public = Some(Address::Pending);
                }
            }
            Self::AddTarget {
                target_group,
                interface,
            } => {
                if let Some(group) = topology.target_groups.get_mut(target_group) {
                    group.targets.insert(interface.clone());
                }
            }
        }
    }

    /// The changed or new resource.
    pub fn resource(&self) -> Option<&Key> {
        match self {
            Self::AddGroupRule { group: key, .. }
            | Self::AddAclEntry { acl: key, .. }
            | Self::SetRoute { table: key, .. }
            | Self::RemoveRoute { table: key, .. }
            | Self::AddRouteTable { table: key, .. }
            | Self::AttachInternetGateway { gateway: key }
            | Self::AddTarget {
                target_group: key, ..
            } => Some(key),
            Self::AddPublicAddress { .. } => None,
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddGroupRule { group, rule } => {
                let (side, word) = match rule.direction {
                    Direction::Ingress => ("from", "ingress"),
                    Direction::Egress => ("to", "egress"),
                };
                let what = traffic(rule.protocol, rule.ports);
                let peer = match &rule.peer {
                    Peer::Cidr(net) => shown(*net),
                    Peer::Group(key) => key.to_string(),
                };
                write!(f, "add to {group} an {word} rule: {what} {side} {peer}")
            }
            Self::AddAclEntry { acl, entry } => {
                let (side, word) = match entry.direction {
                    Direction::Ingress => ("from", "ingress"),
                    Direction::Egress => ("to", "egress"),
                };
                let action = match entry.action {
                    AclAction::Allow => "allow",
                    AclAction::Deny => "deny",
                };
                write!(
                    f,
                    "add to {acl} an {word} entry {}: {action} {} {side} {}",
                    entry.number,
                    traffic(entry.protocol, entry.ports),
                    shown(entry.cidr)
                )
            }
            Self::SetRoute {
                table,
                destination,
                via,
            } => write!(f, "route {destination} in {table} to {}", via.key()),
            Self::RemoveRoute { table, destination } => {
                write!(f, "take the route for {destination} out of {table}")
            }
            Self::AddRouteTable {
                table,
                subnet,
                destination,
                via,
            } => write!(
                f,
                "give {subnet} a table of its own, {table}, with a route for {destination} to {}",
                via.key()
            ),
            Self::AttachInternetGateway { gateway } => {
                write!(f, "attach an internet gateway, {gateway}, to the VPC")
            }
            Self::AddPublicAddress { interface } => {
                write!(f, "give {interface} a public address")
            }
            Self::AddTarget {
                target_group,
                interface,
            } => write!(f, "put {interface} into {target_group}"),
        }
    }
}

/// The highest number of an entry.
const LAST_NUMBER: u16 = 32766;

/// A free number for an entry that must precede `deny`, or follow all others: a round one if
/// possible, and as high as possible, so that it precedes as few entries as possible.
pub(super) fn free_number(
    entries: &[AclEntry],
    direction: Direction,
    deny: Option<u16>,
) -> Option<u16> {
    let taken: std::collections::BTreeSet<u16> = entries
        .iter()
        .filter(|entry| entry.direction == direction)
        .map(|entry| entry.number)
        .collect();
    let free = |number: &u16| !taken.contains(number);
    let Some(deny) = deny else {
        let after = taken.last().map_or(0, |last| *last);
        let round = (after / 10).checked_add(1)?.checked_mul(10)?;
        return [round]
            .into_iter()
            .chain(after.saturating_add(1)..=LAST_NUMBER)
            .find(|number| free(number) && *number <= LAST_NUMBER)
            .or_else(|| (1..=LAST_NUMBER).rev().find(free));
    };
    // Between the entry before `deny` and `deny`, if there is a free number.
    let before = taken.range(..deny).next_back().copied().unwrap_or(0);
    let between = || (before + 1..deny).rev();
    between()
        .find(|number| number % 10 == 0)
        .or_else(|| between().next())
        .or_else(|| (1..deny).rev().find(free))
}

/// An unused key for a route table, named after the subnet.
pub(super) fn free_table(topology: &Topology, subnet: &Key) -> Option<Key> {
    let numbered = (2..).map(|number| format!("{}-{number}", subnet.name));
    [subnet.name.to_string()]
        .into_iter()
        .chain(numbered)
        .map_while(|name| ResourceName::new(name).ok())
        .map(|name| Key::new(kind::ROUTE_TABLE, name))
        .find(|key| !topology.route_tables.contains_key(key))
}
