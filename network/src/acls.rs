//! The entries of the two network ACLs, derived from the declared ports.
//!
//! A network ACL is stateless: every flow needs an entry for its answers too. Two kinds of traffic
//! need none, because AWS does not filter them: the VPC's own DNS resolver and time service, and
//! the instance metadata. <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::Port;

use crate::layout::{Layout, LayoutError};
use crate::nat_gateway::NatMode;
use crate::network_acl::{AclAction, AclEntry};
use crate::ports::{HTTPS, OpenPorts, SSH, set};
use crate::traffic::{Direction, PortRange, Protocol};

/// The maximum number of entries per direction that AWS grants on request; the default is 20.
pub const MAX_ACL_ENTRIES: usize = 40;

/// Every address.
pub(crate) const ANYWHERE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);

/// The input from which the entries are derived.
pub(crate) struct Borders<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) ports: &'a OpenPorts,
    pub(crate) nat: NatMode,
    pub(crate) s3_endpoint: bool,
}

impl Borders<'_> {
    /// The entries of the public subnets: the balancer's nodes, the NAT gateways and the bastion.
    pub(crate) fn public(&self) -> Result<Vec<AclEntry>, LayoutError> {
        let private = Ipv4Net::aggregate(&self.layout.private);
        let mut entries = Entries::default();

        // From clients to the balancer, and the answers.
        entries.section();
        for port in set(&self.ports.listeners) {
            entries.tcp(Direction::Ingress, PortRange::one(port), ANYWHERE);
        }
        // From the operator to the bastion.
        entries.section();
        for source in self.operators() {
            entries.tcp(Direction::Ingress, PortRange::one(SSH), source);
        }
        // From the balancer and the bastion to the instances.
        entries.section();
        for port in self.instance_ports() {
            for &block in &private {
                entries.tcp(Direction::Egress, PortRange::one(port), block);
            }
        }
        // From instances through a NAT gateway: into its subnet, and out of it.
        entries.section();
        if self.nat != NatMode::None {
            for port in set(&self.ports.egress) {
                for &block in &private {
                    entries.tcp(Direction::Ingress, PortRange::one(port), block);
                }
                entries.tcp(Direction::Egress, PortRange::one(port), ANYWHERE);
            }
        }
        // Answers: from the instances and the internet inwards, to clients and instances outwards.
        entries.section();
        if self.nat == NatMode::None {
            for &block in &private {
                entries.tcp(Direction::Ingress, PortRange::EPHEMERAL, block);
            }
        } else {
            entries.tcp(Direction::Ingress, PortRange::EPHEMERAL, ANYWHERE);
        }
        entries.tcp(Direction::Egress, PortRange::EPHEMERAL, ANYWHERE);
        // Routers on the path that request smaller packets, and a NAT gateway that forwards these
        // messages.
        entries.section();
        entries.icmp(Direction::Ingress, ANYWHERE);
        if self.nat != NatMode::None {
            for &block in &private {
                entries.icmp(Direction::Egress, block);
            }
        }
        entries.finish("public")
    }

    /// The entries of the private subnets: the instances.
    pub(crate) fn private(&self) -> Result<Vec<AclEntry>, LayoutError> {
        let public = Ipv4Net::aggregate(&self.layout.public);
        let mut entries = Entries::default();

        // From the balancer and the bastion to the instances, and the answers.
        entries.section();
        for port in self.instance_ports() {
            for &block in &public {
                entries.tcp(Direction::Ingress, PortRange::one(port), block);
            }
        }
        entries.section();
        for &block in &public {
            entries.tcp(Direction::Egress, PortRange::EPHEMERAL, block);
        }
        // From instances to the internet, or only to S3, which has public addresses too.
        entries.section();
        let ports = match (self.nat, self.s3_endpoint) {
            (NatMode::None, false) => BTreeSet::new(),
            (NatMode::None, true) => BTreeSet::from([HTTPS]),
            (NatMode::PerZone | NatMode::Single, _) => set(&self.ports.egress),
        };
        for &port in &ports {
            entries.tcp(Direction::Egress, PortRange::one(port), ANYWHERE);
        }
        if !ports.is_empty() {
            entries.tcp(Direction::Ingress, PortRange::EPHEMERAL, ANYWHERE);
        }
        if self.nat != NatMode::None {
            // Routers on the path that request smaller packets.
            entries.section();
            entries.icmp(Direction::Ingress, ANYWHERE);
        }
        entries.finish("private")
    }

    /// The addresses that may log in to the bastion, in the fewest blocks.
    fn operators(&self) -> Vec<Ipv4Net> {
        Ipv4Net::aggregate(self.ports.bastion_allow.as_ref().unwrap_or(&Vec::new()))
    }

    /// The destination ports of instances: the services' ports, and SSH with a bastion.
    fn instance_ports(&self) -> BTreeSet<Port> {
        let services = self.ports.services.iter().map(|service| service.port);
        let ssh = self.ports.bastion_allow.as_ref().map(|_| SSH);
        services.chain(ssh).collect()
    }
}

/// The entries of one public subnet with an instance that clients connect to directly, on its own
/// port.
pub(crate) fn of_one_subnet(
    port: Port,
    clients: &[Ipv4Net],
    egress: &[Port],
) -> Result<Vec<AclEntry>, LayoutError> {
    let mut entries = Entries::default();
    // From clients to the instance.
    entries.section();
    for &client in clients {
        entries.tcp(Direction::Ingress, PortRange::one(port), client);
    }
    // From the instance to the internet.
    entries.section();
    for port in set(egress) {
        entries.tcp(Direction::Egress, PortRange::one(port), ANYWHERE);
    }
    // The answers to both.
    entries.section();
    entries.tcp(Direction::Ingress, PortRange::EPHEMERAL, ANYWHERE);
    entries.tcp(Direction::Egress, PortRange::EPHEMERAL, ANYWHERE);
    // Routers on the path that request smaller packets.
    entries.section();
    entries.icmp(Direction::Ingress, ANYWHERE);
    entries.finish("public")
}

/// Allow entries, numbered in the order of insertion.
///
/// Every section has its own hundred, the same in both directions, and its entries are numbered in
/// steps of ten: a new port in one section does not renumber the others, unless a section has more
/// than ten.
#[derive(Default)]
struct Entries {
    list: Vec<AclEntry>,
    sections: u16,
    ingress: u16,
    egress: u16,
}

impl Entries {
    fn section(&mut self) {
        self.sections += 1;
        for next in [&mut self.ingress, &mut self.egress] {
            let next_hundred = next.saturating_add(99) / 100 * 100;
            *next = next_hundred.max(self.sections * 100);
        }
    }

    fn tcp(&mut self, direction: Direction, ports: PortRange, cidr: Ipv4Net) {
        self.allow(direction, Protocol::Tcp, ports, cidr);
    }

    fn icmp(&mut self, direction: Direction, cidr: Ipv4Net) {
        self.allow(direction, Protocol::Icmp, PortRange::ALL, cidr);
    }

    fn allow(&mut self, direction: Direction, protocol: Protocol, ports: PortRange, cidr: Ipv4Net) {
        let next = match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        };
        self.list.push(AclEntry {
            number: *next,
            direction,
            action: AclAction::Allow,
            protocol,
            ports,
            cidr,
        });
        // Numbers may repeat far beyond the limit that `finish` enforces.
        *next = next.saturating_add(10);
    }

    fn finish(mut self, tier: &'static str) -> Result<Vec<AclEntry>, LayoutError> {
        for direction in [Direction::Ingress, Direction::Egress] {
            let of_direction = |entry: &&AclEntry| entry.direction == direction;
            let entries = self.list.iter().filter(of_direction).count();
            if entries > MAX_ACL_ENTRIES {
                return Err(LayoutError::TooManyAclEntries {
                    tier,
                    direction,
                    entries,
                    most: MAX_ACL_ENTRIES,
                });
            }
        }
        self.list
            .sort_by_key(|entry| (entry.direction, entry.number));
        Ok(self.list)
    }
}

#[cfg(test)]
mod tests;
