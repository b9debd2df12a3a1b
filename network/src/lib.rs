//! The network of a deployment: VPC, subnets, gateways, routes, network ACLs and security groups,
//! as specs that any provider can implement, and the blueprint that combines them.
//!
//! Each kind has its own file, and depends on no cloud. [`TwoTier`] and [`add_groups`] add a
//! complete network to a stack, from one address block and the declared ports.

mod acls;
#[cfg(feature = "aws")]
pub mod aws;
mod blueprint;
mod elastic_ip;
mod gateway_endpoint;
mod groups;
mod internet_gateway;
mod layout;
mod nat_gateway;
mod network_acl;
mod one_subnet;
mod ports;
mod provider;
pub mod reach;
mod route_table;
mod security_group;
mod security_group_rules;
mod subnet;
mod traffic;
mod vpc;

use std::time::Duration;

pub use acls::MAX_ACL_ENTRIES;
pub use blueprint::{Network, Tier, TwoTier};
pub use elastic_ip::{ElasticIp, ElasticIpOutput};
pub use gateway_endpoint::{EndpointService, GatewayEndpoint};
pub use groups::{Groups, add_groups};
pub use internet_gateway::InternetGateway;
pub use layout::{Layout, LayoutError, MAX_ZONES, layout};
pub use nat_gateway::{NatGateway, NatGatewayOutput, NatMode};
pub use network_acl::{AclAction, AclEntry, NetworkAcl};
pub use one_subnet::OneSubnet;
pub use ports::{OpenPorts, ServicePort};
pub use provider::{NetworkProvider, kinds};
pub use route_table::{Route, RouteTable, RouteTarget};
pub use security_group::SecurityGroup;
pub use security_group_rules::{Peer, SecurityGroupRules, SecurityRule};
pub use subnet::Subnet;
pub use traffic::{Direction, PortRange, Protocol};
pub use vpc::Vpc;

/// How long a group, a subnet, a gateway, an address or a VPC may stay in use after its last user is deleted: on AWS the
/// interfaces of balancers and NAT gateways go minutes later. Terraform's provider waits 10 to 20 minutes.
///
/// <https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/security_group#timeouts>
const FREED_WITHIN: Duration = Duration::from_secs(1200);
