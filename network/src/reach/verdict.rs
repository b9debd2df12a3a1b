//! The answer: the way that packets take, or what stops them and what would let them through.

use std::fmt;

use ipnet::Ipv4Net;
use landfall_provider::Key;
use serde::{Deserialize, Serialize};

use super::flow::Flow;
use super::remedy::Remedy;
use crate::EndpointService;
use crate::traffic::{Direction, PortRange, Protocol};

/// What comes of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was asked.
    pub flow: Flow,
    /// How much of it arrives, and is answered.
    pub reach: Reach,
    /// The way: of what is stopped first, up to there; of what arrives, if nothing is stopped.
    pub hops: Vec<Hop>,
    /// What stops it; `None` exactly when all of it arrives.
    pub block: Option<Block>,
    /// What arrives, as it was sent; `None` when nothing does.
    pub arrived: Option<Packet>,
}

impl Verdict {
    /// Whether the flow is reachable, with each address and port that it is about.
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
    /// Of whether something arrived, and whether something was stopped.
    pub(super) fn of(arrived: bool, stopped: bool) -> Self {
        match (arrived, stopped) {
            (false, _) => Self::Nothing,
            (true, true) => Self::Part,
            (true, false) => Self::All,
        }
    }
}

/// PortField way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowDirection {
    /// From the side that opens the connection.
    Request,
    /// Back to the side that opened it.
    #[serde(rename = "answer")]
    Return,
}

/// Something that a packet passes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// PortField way the packet goes.
    pub leg: FlowDirection,
    /// What it passes.
    pub at: HopLocation,
    /// The rules that let it through, where there are rules.
    pub rules: Vec<Rule>,
    /// The packet, as it leaves.
    pub packet: Packet,
}

/// What a hop or a block is at.
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
        /// The groups whose rules apply; all of the interface's where none does.
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
    /// The internet gateway; `None` where there should be one.
    InternetGateway(Option<Key>),
    /// A NAT gateway.
    NatGateway(Key),
    /// A gateway endpoint.
    Endpoint(Key),
    /// A load balancer, at the port that is asked.
    Balancer(Key),
    /// A listener.
    Listener(Key),
    /// A rule of a listener.
    ListenerRule(Key),
    /// A target group.
    TargetGroup(Key),
    /// Addresses of the VPC that nothing has.
    Nobody(Ipv4Net),
}

impl HopLocation {
    /// The resource that it is; `None` for what is no resource, and for several groups.
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

/// A rule of something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// An entry of a network ACL.
    Entry {
        /// Whether it is about what comes into the subnet or leaves it.
        direction: Direction,
        /// Its number; `None` for the last one, `*`, which denies what no other entry matches.
        number: Option<u16>,
    },
    /// A rule of a security group.
    Group {
        /// The group.
        group: Key,
        /// Its place among the group's rules, from 0.
        index: usize,
        /// What it is for, in its author's words.
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

/// What packets look like at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Where they come from: the smallest block with all the addresses.
    pub source: Ipv4Net,
    /// Where they go: the smallest block with all the addresses.
    pub destination: Ipv4Net,
    /// Their protocol.
    pub protocol: Protocol,
    /// The ports that they go to, from the lowest to the highest.
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

/// Protocol and ports as people write them.
pub(super) fn traffic(protocol: Protocol, ports: PortRange) -> String {
    match protocol {
        Protocol::Tcp => format!("TCP {ports}"),
        Protocol::Udp => format!("UDP {ports}"),
        Protocol::Icmp => "ICMP".to_owned(),
        Protocol::All => "everything".to_owned(),
    }
}

/// A block as people write it: an address alone for one.
pub(super) fn shown(net: Ipv4Net) -> String {
    match net.prefix_len() {
        0 => "anywhere".to_owned(),
        32 => net.addr().to_string(),
        _ => net.to_string(),
    }
}

/// What stops a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Why, in AWS's words.
    pub code: Code,
    /// PortField way the packet goes that is stopped.
    pub leg: FlowDirection,
    /// What stops it.
    pub at: HopLocation,
    /// The rule that denies it; `None` where it is the lack of one.
    pub rule: Option<Rule>,
    /// The packet. It may be a part of the flow: see its addresses and ports.
    pub packet: Packet,
    /// Why, in a sentence.
    pub reason: String,
    /// The least change that lets this packet past this place; `None` when no single change does.
    pub remedy: Option<Remedy>,
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.reason)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why packets are stopped, in the words of AWS's Reachability Analyzer, as far as what this
        /// model holds can be a reason.
        ///
        /// <https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html>
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as AWS writes it.
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
    /// The subnet's network ACL does not let it through.
    SubnetAclRestriction = "SUBNET_ACL_RESTRICTION",
    /// A network ACL does not let the answer through to the port that a NAT gateway or a balancer took.
    RemapEphemeralPort = "REMAP_EPHEMERAL_PORT",
    /// The route table has no route that leads there.
    NoRouteToDestination = "NO_ROUTE_TO_DESTINATION",
    /// The route table has a way out, whose destination does not hold this address.
    CannotRoute = "CANNOT_ROUTE",
    /// A more specific route leads nowhere, and hides one that would do.
    MoreSpecificRoute = "MORE_SPECIFIC_ROUTE",
    /// The route leads to something that is not there.
    BadStateRoute = "BAD_STATE_ROUTE",
    /// Nothing has this address.
    NoPossibleDestination = "NO_POSSIBLE_DESTINATION",
    /// What has no public address cannot leave through the internet gateway.
    IgwPublicIpAssociationForEgress = "IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS",
    /// What has no public address cannot be reached through the internet gateway.
    IgwPrivateIpAssociationForIngress = "IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS",
    /// A NAT gateway carries no connection that begins outside.
    NgwRequiresSourceInVpc = "NGW_REQUIRES_SOURCE_IN_VPC",
    /// Behind a NAT gateway the source is another, and the rule that would have let it in does not apply.
    NgwSourceAddressReassign = "NGW_SOURCE_ADDRESS_REASSIGN",
    /// The balancer has no listener for this.
    Elbv2ListenersMismatch = "ELBV2_LISTENERS_MISMATCH",
    /// The balancer's listener is on another port.
    Elbv2ListenerPortRestriction = "ELBV2_LISTENER_PORT_RESTRICTION",
    /// The listener sends requests to a target group without targets.
    Elbv2ListenerHasNoTg = "ELBV2_LISTENER_HAS_NO_TG",
    /// The balancer asks this target on other ports only.
    TargetPortRestriction = "TARGET_PORT_RESTRICTION",
    /// This is no target of the balancer.
    TargetAddressRestriction = "TARGET_ADDRESS_RESTRICTION",
    /// A gateway endpoint carries TCP and ICMP alone.
    VpceGatewayProtocolRestriction = "VPCE_GATEWAY_PROTOCOL_RESTRICTION",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
