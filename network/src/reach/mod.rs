//! Who can reach what: a pure model of a VPC, and the trace of a flow through it.
//!
//! [`trace()`] answers one question, before anything exists or about what is there: does a connection arrive,
//! and does its answer come back? The [`Verdict`] lists what it passes, or what stops it first: a [`Code`] in
//! AWS's words, the resource and the rule, and a [`Remedy`], the least change that gets past it, which can be
//! applied to the topology to see what comes of it. [`matrix()`] asks about every pair at once. [`invariants`]
//! are what has to hold in every deployment, and [`check`] finds what does not.
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
//! // Of any stack or snapshot; what other crates know is added by whoever knows it.
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
//! - **Security groups** allow, and remember: whoever is let through is answered. All groups of an interface
//!   count together. A rule for a group is about its members' private addresses, so it does not know them when
//!   they come over the internet.
//!   [Security groups](https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html)
//! - **Network ACLs** stand at the border of a subnet and remember nothing. The entry with the lowest number that
//!   matches decides, by destination port; `*` denies the rest. Answers are asked about like requests. Nothing is
//!   asked within a subnet. A subnet without an ACL has the VPC's default one, which allows everything.
//!   [Network ACLs](https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html)
//! - **Answers** go to the port that the connection was opened from. Linux takes 32768–60999
//!   ([`ip_local_port_range`](https://docs.kernel.org/networking/ip-sysctl.html)); clients on the internet, NAT
//!   gateways and balancers take 1024–65535
//!   ([ephemeral ports](https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports)).
//!   [`Flow::source_ports`] says otherwise.
//! - **Route tables** are asked with the longest prefix. Every table leads to the VPC itself, and to that always: AWS
//!   also allows routes to parts of a VPC through appliances, which are not modelled. A subnet without a table has
//!   the main one, with that route alone. A route to what is not there drops.
//!   [Route priority](https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html)
//! - **The internet gateway** translates public addresses one to one; what has none neither leaves nor is found.
//!   Answers have to leave by it, too: a public address in a subnet whose table leads to a NAT gateway is not
//!   reachable. [Internet gateways](https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html)
//! - **A NAT gateway** opens the connection anew, with its own address, from ports of its own. Packets cross the
//!   ACLs of its subnet on both sides of it, and its subnet's table has to lead to the internet gateway. Nothing
//!   comes in by it, and it uses no endpoint's routes. [NAT gateways](https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html)
//! - **A gateway endpoint** adds routes for its service's addresses; it carries TCP and ICMP, with the private
//!   source address. [Gateway endpoints](https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html)
//! - **A balancer** is asked by its public addresses, also from inside. Each of its nodes then opens connections
//!   of its own to every target in every zone: a flow to a balancer arrives when all of them do.
//!
//! # Sets, not samples
//!
//! A trace carries sets of addresses and ports and splits them wherever a rule does, so `internet` is every
//! public address and not an example. That which arrives and that which does not are both known exactly:
//! [`Reach::All`], [`Reach::Nothing`], or [`Reach::Part`] with a block that says which part it stops.
//!
//! Before a plan is carried out, instances have no addresses. [`Address::Pending`] stands for every free
//! address of the subnet (for a public one, every one of the internet): a flow that is reachable is so with each
//! address that the instance may get, and one that is not, with none. Where rules divide a subnet, the answer
//! is a part, and neither an expectation that it is reachable nor one that it is not holds.
//!
//! What is not modelled: IPv6, peering and transit gateways, appliances, DNS, and whether anything listens.

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
    Address, Balancer, Endpoint, GroupRule, Interface, Listener, NatGateway, NetworkAcl, Peer,
    Role, RouteTable, SecurityGroup, Subnet, Target, TargetGroup, Topology,
};
pub use self::trace::{is_public, trace};
pub use self::verdict::{
    Block, Code, FlowDirection, Hop, HopLocation, Packet, Reach, Rule, Verdict,
};

#[cfg(test)]
mod tests;
