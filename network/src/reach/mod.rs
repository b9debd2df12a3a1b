//! Reachability: a pure model of a VPC, and the trace of a flow through it.
//!
//! [`trace()`] answers one question, about a desired or a live network: does a connection arrive,
//! and does its answer return? The [`Verdict`] lists the hops that it passes, or the first
//! obstacle: a [`Code`] in AWS's terms, the resource and the rule, and a [`Remedy`], the least
//! change that removes the obstacle, which can be applied to the topology to see its effect.
//! [`matrix()`] traces every pair at once. [`invariants`] are the expectations that every
//! deployment must meet, and [`check`] finds those that do not hold.
//!
//! ```
//! use landfall_network::reach::{End, Flow, Interface, Role, Address, assemble, stand_in, trace};
//! # use landfall_network::{NatMode, OpenPorts, ServicePort, TwoTier, add_groups};
//! # use landfall_provider::{Port, ResourceName, Stack, StackName, Zone};
//! # let web = ServicePort { name: ResourceName::new("web")?, port: Port::new(8000)? };
//! # let mut stack = Stack::new(StackName::new("digipay")?);
//! # let ports = OpenPorts::new(vec![Port::new(80)?], vec![web]);
//! # let network = TwoTier {
//! #     cidr: "10.0.0.0/16".parse()?,
//! #     zones: vec![Zone::new("ap-south-1a")?, Zone::new("ap-south-1b")?],
//! #     nat: NatMode::PerZone, s3_endpoint: true, open_ports: ports.clone(),
//! # };
//! # let network = network.add_to(&mut stack)?;
//! # add_groups(&mut stack, &network.vpc.id(), &ports)?;
//! // Of any stack or snapshot; resources of other crates are added by their callers.
//! let (mut topology, _) = assemble(&stack, stand_in)?;
//! topology.interfaces.insert("web/1".to_owned(), Interface {
//!     subnet: "subnet/private-a".parse()?,
//!     address: Address::Pending,
//!     public: None,
//!     groups: ["security-group/web".parse()?].into(),
//!     role: Role::Service("web".parse()?),
//! });
//! let web = || End::Interface("web/1".to_owned());
//! assert!(trace(&topology, &Flow::tcp(web(), End::Internet, 443))?.reachable());
//!
//! let block = trace(&topology, &Flow::tcp(web(), End::Internet, 25))?.block.expect("it is stopped");
//! assert_eq!(block.to_string(), "ENI_SG_RULES_MISMATCH: no egress rule of security-group/web lets \
//!     web/1 out to TCP 25 of anywhere");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The rules
//!
//! - **Security groups** are stateful and can only allow: answers to allowed traffic are allowed.
//!   All groups of an interface count together. A rule for a group matches its members' private
//!   addresses, so it does not match their traffic over the internet. [Security
//!   groups](https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html)
//! - **Network ACLs** filter at the border of a subnet and are stateless. The entry with the lowest
//!   number that matches decides, by destination port; `*` denies the rest. Answers are checked
//!   like requests. Traffic within a subnet is not checked. A subnet without an ACL has the VPC's
//!   default one, which allows everything. [Network
//!   ACLs](https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html)
//! - **Answers** go to the source port of the connection. Linux uses 32768–60999
//!   ([`ip_local_port_range`](https://docs.kernel.org/networking/ip-sysctl.html)); clients on the
//!   internet, NAT gateways and balancers use 1024–65535 ([ephemeral
//!   ports](https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports)).
//!   [`Flow::source_ports`] overrides these ranges.
//! - **Route tables** match by the longest prefix. Every table has a route to the VPC itself that
//!   always wins: AWS also allows routes to parts of a VPC through appliances, which are not
//!   modelled. A subnet without a table has the main one, with that route only. A route to a
//!   missing target drops packets. [Route
//!   priority](https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html)
//! - **The internet gateway** translates public addresses one to one; an instance without one can
//!   neither connect nor be reached through it. Answers must also leave through it: a public
//!   address in a subnet whose table routes to a NAT gateway is not reachable. [Internet
//!   gateways](https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html)
//! - **A NAT gateway** opens a new connection, with its own address and its own ports. Packets
//!   cross the ACLs of its subnet on both sides of it, and its subnet's table must route to the
//!   internet gateway. No connection from outside enters through it, and it uses no endpoint's
//!   routes. [NAT
//!   gateways](https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html)
//! - **A gateway endpoint** adds routes for its service's addresses; it carries TCP and ICMP, with the private
//!   source address. [Gateway endpoints](https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html)
//! - **A balancer** is reached at its public addresses, also from inside the VPC. Each of its nodes
//!   then opens its own connections to every target in every zone: a flow to a balancer arrives
//!   when all of them do.
//!
//! # Sets, not samples
//!
//! A trace carries sets of addresses and ports and splits them wherever a rule does, so `internet`
//! means every public address and not an example. The reachable and the unreachable parts are both
//! known exactly: [`Reach::All`], [`Reach::Nothing`], or [`Reach::Part`] with a block that names
//! the part that it stops.
//!
//! Before a plan is applied, instances have no addresses. [`Address::Pending`] represents every
//! free address of the subnet (for a public one, every one of the internet): a reachable flow is
//! reachable with each address that the instance may get, and an unreachable one with none. Where
//! rules divide a subnet, the answer is a part, and neither an expectation that the flow is
//! reachable nor one that it is not holds.
//!
//! Not modelled: IPv6, peering and transit gateways, appliances, DNS, and whether a process
//! listens.

mod assemble;
mod expect;
mod flow;
mod matrix;
mod ranges;
mod remedy;
mod topology;
mod trace;
mod verdict;

pub use self::assemble::{AssembleError, Names, Spec, Specs, assemble, stand_in};
pub use self::expect::{Checked, Expectation, FailedExpectation, check, invariants};
pub use self::flow::{End, Flow, FlowError};
pub use self::matrix::{Cell, EndpointGroup, Matrix, matrix};
pub use self::remedy::Remedy;
pub use self::topology::{
    Address, Balancer, Endpoint, Interface, Listener, NatGateway, NetworkAcl, Role, RouteTable,
    SecurityGroup, Subnet, Target, TargetGroup, Topology,
};
pub use self::trace::{is_public, trace};
pub use self::verdict::{
    Block, Code, FlowDirection, Hop, HopLocation, Packet, Reach, Rule, Verdict,
};

#[cfg(test)]
mod tests;
