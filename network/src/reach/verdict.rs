//! Verdicts: the path of a flow, or its block and the remedy.

use std::fmt;

use ipnet::Ipv4Net;
use landfall_provider::Key;
use serde::{Deserialize, Serialize};

use super::flow::Flow;
use super::remedy::Remedy;
use crate::EndpointService;
use crate::traffic::{Direction, PortRange, Protocol};

/// The result of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The traced flow.
    pub flow: Flow,
    /// How much of it arrives, and is answered.
    pub reach: Reach,
    /// The path: up to the first block, or, without a block, of the packets that arrive.
    pub hops: Vec<Hop>,
    /// The block; `None` exactly when all of the flow arrives.
    pub block: Option<Block>,
    /// The packets that arrive, as sent; `None` when none do.
    pub arrived: Option<Packet>,
}

impl Verdict {
    /// Whether the flow is reachable, with each of its addresses and ports.
    pub fn reachable(&self) -> bool {
        self.reach == Reach::All
    }
}

/// How much of a flow arrives and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Nothing.
    Nothing,
    /// Some: from some addresses, to some targets, or from some ports, and not from others.
    Part,
    /// All of it.
    All,
}

impl Reach {
    /// Combines whether anything arrived with whether anything was blocked.
    pub(super) fn of(arrived: bool, stopped: bool) -> Self {
        match (arrived, stopped) {
            (false, _) => Self::Nothing,
            (true, true) => Self::Part,
            (true, false) => Self::All,
        }
    }
}

/// The direction of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowDirection {
    /// From the opener of the connection.
    Request,
    /// Back to the opener.
    #[serde(rename = "answer")]
    Return,
}

/// One hop of a packet's path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The direction of the packet.
    pub leg: FlowDirection,
    /// The location of the hop.
    pub at: HopLocation,
    /// The rules that allowed it, if any rules apply.
    pub rules: Vec<Rule>,
    /// The packet after this hop.
    pub packet: Packet,
}

/// The location of a hop or a block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HopLocation {
    /// The internet.
    Internet,
    /// A service behind an endpoint.
    Service(EndpointService),
    /// An interface, by its name.
    Interface(String),
    /// The security groups of an interface.
    SecurityGroups {
        /// The interface.
        interface: String,
        /// The groups whose rules apply; all of the interface's if none does.
        groups: Vec<Key>,
    },
    /// The network ACL of a subnet.
    NetworkAcl {
        /// The subnet.
        subnet: Key,
        /// The ACL; `None` for the VPC's default one.
        acl: Option<Key>,
    },
    /// The route table of a subnet.
    RouteTable {
        /// The subnet.
        subnet: Key,
        /// The table; `None` for the VPC's main one.
        table: Option<Key>,
    },
    /// The internet gateway; `None` where it is missing.
    InternetGateway(Option<Key>),
    /// A NAT gateway.
    NatGateway(Key),
    /// A gateway endpoint.
    Endpoint(Key),
    /// A load balancer, at the destination port.
    Balancer(Key),
    /// A listener.
    Listener(Key),
    /// A rule of a listener.
    ListenerRule(Key),
    /// A target group.
    TargetGroup(Key),
    /// Unused addresses of the VPC.
    Nobody(Ipv4Net),
}

impl HopLocation {
    /// The resource's key; `None` for locations that are no resource, and for several groups.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::SecurityGroups { groups, .. } => match groups.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            Self::NetworkAcl { acl: key, .. }
            | Self::RouteTable { table: key, .. }
            | Self::InternetGateway(key) => key.as_ref(),
            Self::NatGateway(key)
            | Self::Endpoint(key)
            | Self::Balancer(key)
            | Self::Listener(key)
            | Self::ListenerRule(key)
            | Self::TargetGroup(key) => Some(key),
            Self::Internet | Self::Service(_) | Self::Interface(_) | Self::Nobody(_) => None,
        }
    }
}

impl fmt::Display for HopLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet => f.write_str("the internet"),
            Self::Service(EndpointService::S3) => f.write_str("S3"),
            Self::Interface(name) => f.write_str(name),
            Self::SecurityGroups { interface, groups } if groups.is_empty() => {
                write!(f, "{interface} without a security group")
            }
            Self::SecurityGroups { groups, .. } => {
                let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
                f.write_str(&groups.join(" and "))
            }
            Self::NetworkAcl { acl: Some(key), .. }
            | Self::RouteTable {
                table: Some(key), ..
            }
            | Self::InternetGateway(Some(key))
            | Self::NatGateway(key)
            | Self::Endpoint(key)
            | Self::Balancer(key)
            | Self::Listener(key)
            | Self::ListenerRule(key)
            | Self::TargetGroup(key) => key.fmt(f),
            Self::NetworkAcl { acl: None, .. } => f.write_str("the default network ACL"),
            Self::RouteTable { table: None, .. } => f.write_str("the main route table"),
            Self::InternetGateway(None) => f.write_str("the internet gateway that is not there"),
            Self::Nobody(net) => write!(f, "{net}, which nothing has"),
        }
    }
}

/// A rule of a filter or a route table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// An entry of a network ACL.
    Entry {
        /// Whether it applies to packets into the subnet or out of it.
        direction: Direction,
        /// Its number; `None` for the last one, `*`, which denies what no other entry matches.
        number: Option<u16>,
    },
    /// A rule of a security group.
    Group {
        /// The group.
        group: Key,
        /// Its index among the group's rules, from 0.
        index: usize,
        /// Its description.
        description: String,
    },
    /// A route, by its destination.
    Route(Ipv4Net),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry {
                direction,
                number: Some(number),
            } => write!(f, "{direction} entry {number}"),
            Self::Entry {
                direction,
                number: None,
            } => write!(f, "{direction} entry *"),
            Self::Group {
                index, description, ..
            } if description.is_empty() => write!(f, "rule {}", index + 1),
            Self::Group { description, .. } => write!(f, "“{description}”"),
            Self::Route(destination) => write!(f, "the route for {destination}"),
        }
    }
}

/// The packets at one hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// The source: the smallest block with all the addresses.
    pub source: Ipv4Net,
    /// The destination: the smallest block with all the addresses.
    pub destination: Ipv4Net,
    /// Their protocol.
    pub protocol: Protocol,
    /// The destination ports, from the lowest to the highest.
    pub ports: PortRange,
}

impl Packet {
    /// Protocol and ports: `TCP 80`.
    pub(super) fn asked(&self) -> String {
        traffic(self.protocol, self.ports)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (shown(self.source), shown(self.destination));
        write!(f, "{} from {from} to {to}", self.asked())
    }
}

/// Protocol and ports, in the usual notation.
pub(super) fn traffic(protocol: Protocol, ports: PortRange) -> String {
    match protocol {
        Protocol::Tcp => format!("TCP {ports}"),
        Protocol::Udp => format!("UDP {ports}"),
        Protocol::Icmp => "ICMP".to_owned(),
        Protocol::All => "everything".to_owned(),
    }
}

/// A block, in the usual notation: a single address without a prefix.
pub(super) fn shown(net: Ipv4Net) -> String {
    match net.prefix_len() {
        0 => "anywhere".to_owned(),
        32 => net.addr().to_string(),
        _ => net.to_string(),
    }
}

/// The block of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The reason, in AWS's terms.
    pub code: Code,
    /// The direction of the blocked packet.
    pub leg: FlowDirection,
    /// The location of the block.
    pub at: HopLocation,
    /// The rule that denies the packet; `None` if a missing rule is the reason.
    pub rule: Option<Rule>,
    /// The packet. It may be a part of the flow: see its addresses and ports.
    pub packet: Packet,
    /// The reason, in a sentence.
    pub reason: String,
    /// The least change that lets this packet pass here; `None` when no single change does.
    pub remedy: Option<Remedy>,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Reason codes of AWS's Reachability Analyzer, as far as they can occur in this model.
        ///
        /// <https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html>
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code in AWS's notation.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// No rule of the interface's security groups applies.
    EniSgRulesMismatch = "ENI_SG_RULES_MISMATCH",
    /// The interface's security groups have no rule in this direction.
    SgHasNoRules = "SG_HAS_NO_RULES",
    /// The subnet's network ACL denies it.
    SubnetAclRestriction = "SUBNET_ACL_RESTRICTION",
    /// A network ACL denies the answer to the port that a NAT gateway or a balancer uses.
    RemapEphemeralPort = "REMAP_EPHEMERAL_PORT",
    /// The route table has no route to the destination.
    NoRouteToDestination = "NO_ROUTE_TO_DESTINATION",
    /// The route table has a route out, whose destination does not contain this address.
    CannotRoute = "CANNOT_ROUTE",
    /// A more specific route has no working target, and hides one that would work.
    MoreSpecificRoute = "MORE_SPECIFIC_ROUTE",
    /// The target of the route does not exist.
    BadStateRoute = "BAD_STATE_ROUTE",
    /// No resource has this address.
    NoPossibleDestination = "NO_POSSIBLE_DESTINATION",
    /// An interface without a public address cannot connect through the internet gateway.
    IgwPublicIpAssociationForEgress = "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS",
    /// An interface without a public address cannot be reached through the internet gateway.
    IgwPrivateIpAssociationForIngress = "IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS",
    /// A NAT gateway accepts no connection from outside.
    NgwRequiresSourceInVpc = "NGW_REQUIRES_SOURCE_IN_VPC",
    /// Behind a NAT gateway the source address changes, and the rule that would have allowed it
    /// does not apply.
    NgwSourceAddressReassign = "NGW_SOURCE_ADDRESS_REASSIGN",
    /// The balancer has no listener for this traffic.
    Elbv2ListenersMismatch = "ELBV2_LISTENERS_MISMATCH",
    /// The balancer's listener is on another port.
    Elbv2ListenerPortRestriction = "ELBV2_LISTENER_PORT_RESTRICTION",
    /// The listener sends requests to a target group without targets.
    Elbv2ListenerHasNoTg = "ELBV2_LISTENER_HAS_NO_TG",
    /// The balancer connects to this target on other ports only.
    TargetPortRestriction = "TARGET_PORT_RESTRICTION",
    /// The destination is not a target of the balancer.
    TargetAddressRestriction = "TARGET_ADDRESS_RESTRICTION",
    /// A gateway endpoint carries only TCP and ICMP.
    VpceGatewayProtocolRestriction = "VPCE_GATEWAY_PROTOCOL_RESTRICTION",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
