//! The numbers of links, groups, tables and marks: pure functions of addresses, which `layout` and `ruleset` share.
//!
//! Within a VPC, the index of an interface's link is the offset of its address in the VPC. The first addresses of a VPC
//! never belong to an interface, so 1 to 3 are free for other links.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::SubnetId;

use crate::topology::Topology;

/// The index of a router's link to the internet, for translated traffic.
pub(super) const INTERNET_LINK: u32 = 2;

/// The index of a router's link to the services behind gateway endpoints.
pub(super) const ENDPOINT_LINK: u32 = 3;

/// The group of a router's link to the internet. The groups of subnets have smaller numbers.
pub(super) const INTERNET_GROUP: u32 = 1 << 16;

/// The number of addresses in the smallest subnet, a /28.
const SMALLEST_SUBNET: u32 = 16;

/// The index of an interface's link in its router.
pub(super) fn link_index(vpc: Ipv4Net, address: Ipv4Addr) -> u32 {
    u32::from(address) - u32::from(vpc.network())
}

/// The group of a subnet's links: the subnet's offset in the VPC, in units of the smallest subnet, from 1.
pub(super) fn group_of(topology: &Topology, subnet: &SubnetId) -> u32 {
    let subnet = &topology.subnets[subnet];
    let vpc = topology.vpcs[&subnet.vpc].cidr;
    (u32::from(subnet.cidr.network()) - u32::from(vpc.network())) / SMALLEST_SUBNET + 1
}

/// The index of a VPC's link in the internet's namespace.
pub(super) fn internet_index(vpc_number: u32) -> u32 {
    2 + vpc_number * 2
}

/// The index of a VPC's endpoint link in the internet's namespace.
pub(super) fn endpoint_index(vpc_number: u32) -> u32 {
    3 + vpc_number * 2
}

/// The mark of packets that entered the internet's namespace through a VPC's endpoint link.
pub(super) fn endpoint_mark(vpc_number: u32) -> u32 {
    1 + vpc_number
}
