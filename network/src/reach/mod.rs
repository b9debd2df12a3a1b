//! Who can reach what: a pure model of a VPC, and the trace of a flow through it.

mod assemble;
mod expect;
mod flow;
mod ranges;
mod remedy;
mod topology;
mod trace;
mod verdict;

pub use self::assemble::{AssembleError, Names, Spec, Specs, assemble, stand_in};
pub use self::expect::{Broken, Expectation, check, invariants};
pub use self::flow::{End, Flow, FlowError};
pub use self::remedy::Remedy;
pub use self::topology::{
    Address, Balancer, Endpoint, GroupRule, Interface, Listener, NatGateway, NetworkAcl, Peer,
    Role, RouteTable, SecurityGroup, Subnet, Target, TargetGroup, Topology,
};
pub use self::trace::trace;
pub use self::verdict::{Block, Code, Hop, Leg, Packet, Place, Reach, Rule, Verdict};

#[cfg(test)]
mod tests;
