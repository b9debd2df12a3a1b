//! Custom rules of the file: they extend or replace the rules that follow from the declared ports.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::{AclAction, Peer, PortRange, Protocol};
use landfall_provider::{Port, ResourceName};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value as Json, json};
use toml_span::Value;
use toml_span::value::ValueInner;

use super::fault::Diagnostic;
use super::hints;
use super::reading::Reading;
use super::setting::{Field, Setting, words};
use super::table::{defaults, table};

table! {
    /// A security group: custom rules, in addition to the derived rules or instead of them.
    pub struct SecurityGroup {
        /// Keep the rules that are derived from the declared ports.
        pub derive: bool = Default(true),
        /// Custom rules; each allows connections.
        pub rule: Vec<CustomSecurityRule> = Default(Vec::new()),
    }
}

table! {
    /// A rule of a security group: incoming connections with `from`, or outgoing ones with `to`.
    pub struct CustomSecurityRule {
        /// The source: an IPv4 block, or a group: `balancer`, `bastion` or a service.
        pub from: Option<Peer<ResourceName>> = Default(None),
        /// The destination: an IPv4 block, or a group: `balancer`, `bastion` or a service.
        pub to: Option<Peer<ResourceName>> = Default(None),
        /// The protocol.
        pub protocol: Protocol = Default(Protocol::Tcp),
        /// The destination port, or a range of ports: `8000` or `"8000-8100"`. Only TCP and UDP have ports.
        pub ports: Option<PortRange> = Default(None),
        /// The purpose of the rule, as the provider's console shows it.
        pub description: String = Default("Own rule of landfall.toml".to_owned()),
    }
}

table! {
    /// The network ACLs: one for the public subnets, one for the private ones.
    pub struct Acls {
        /// The ACL of the public subnets: balancer, NAT gateways, bastion.
        pub public: Acl = Default(Acl::blank()),
        /// The ACL of the private subnets: the instances.
        pub private: Acl = Default(Acl::blank()),
    }
}

table! {
    /// A network ACL: custom entries, in addition to the derived entries or instead of them.
    pub struct Acl {
        /// Keep the entries that are derived from the declared ports; their numbers start at 100.
        pub derive: bool = Default(true),
        /// Custom entries.
        pub entry: Vec<CustomAclEntry> = Default(Vec::new()),
    }
}

table! {
    /// An entry of a network ACL: incoming packets `from` a block, or outgoing packets `to` a block. ACLs are stateless: responses need entries too.
    pub struct CustomAclEntry {
        /// Its place in the order, per direction. The lowest number that matches decides.
        pub number: u32 = Needed(1) in 1..=32766,
        /// The effect on a packet that matches.
        pub action: AclAction = Needed(AclAction::Allow),
        /// The source of a packet that enters a subnet: an IPv4 block.
        pub from: Option<Ipv4Net> = Default(None),
        /// The destination of a packet that leaves a subnet: an IPv4 block.
        pub to: Option<Ipv4Net> = Default(None),
        /// The protocol.
        pub protocol: Protocol = Default(Protocol::Tcp),
        /// The destination port, or a range of ports: `8000` or `"1024-65535"`. Only TCP and UDP have ports.
        pub ports: Option<PortRange> = Default(None),
    }
}

table! {
    /// The route tables: one for the public subnets, and one for each private subnet.
    pub struct RouteTables {
        /// The table of the public subnets.
        pub public: RouteTable = Default(RouteTable::blank()),
        /// Every private subnet's table.
        pub private: RouteTable = Default(RouteTable::blank()),
    }
}

table! {
    /// A route table: custom routes, in addition to the derived route to the internet or instead of it.
    pub struct RouteTable {
        /// Keep the derived route to the internet. The route to the addresses of the VPC always exists.
        pub derive: bool = Default(true),
        /// Custom routes. The longest prefix wins.
        pub route: Vec<Route> = Default(Vec::new()),
    }
}

table! {
    /// A route.
    pub struct Route {
        /// The destination addresses: an IPv4 block outside the VPC.
        pub destination: Ipv4Net = Needed(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
        /// The gateway for these addresses. The NAT gateway is that of the zone of the subnet, or the only one.
        pub via: RouteVia = Needed(RouteVia::InternetGateway),
    }
}

table! {
    /// A connection that must be allowed or blocked. A plan that breaks the expectation is refused.
    pub struct Expectation {
        /// The source: `internet`, an address or a block, `balancer`, `bastion`, a service or one instance of it, such as `web/1`.
        pub from: EndpointName = Needed(EndpointName("internet".to_owned())),
        /// The destination, with the same values.
        pub to: EndpointName = Needed(EndpointName("balancer".to_owned())),
        /// The TCP port of the destination.
        pub port: Port = Needed(Port::new(80).expect("80 is a port")),
        /// Whether the connection must be allowed or blocked.
        pub reachable: bool = Default(true),
    }
}

defaults!(
    SecurityGroup,
    CustomSecurityRule,
    Acls,
    Acl,
    RouteTables,
    RouteTable
);

/// The target of a custom route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteVia {
    /// The VPC's internet gateway.
    InternetGateway,
    /// The NAT gateway of the subnet's zone, or the only one.
    NatGateway,
}

words!(RouteVia, "the target of a route": "internet-gateway" = RouteVia::InternetGateway, "nat-gateway" = RouteVia::NatGateway);
words!(AclAction, "an action": "allow" = AclAction::Allow, "deny" = AclAction::Deny);
words!(
    Protocol, "a protocol":
    "tcp" = Protocol::Tcp, "udp" = Protocol::Udp, "icmp" = Protocol::Icmp, "all" = Protocol::All,
);

/// Whether a text is meant as an address: it starts with a digit or contains a colon, and a name does neither.
pub(crate) fn is_address(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(':')
}

impl Setting for Peer<ResourceName> {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        let text = reading.text(value, &field.at, "an address block or a group in quotes")?;
        let read = if is_address(&text) {
            let problem = Diagnostic::new(&field.at, format_args!("`{text}` is not an IPv4 block"));
            let cidr = text.parse().map(Self::Cidr);
            cidr.map_err(|_| problem.hint(hints::for_cidr(&text)))
        } else {
            let group = ResourceName::new(&text).map(Self::Group);
            group.map_err(|_| {
                let message = format!("`{text}` is neither an IPv4 block nor a security group");
                let hint = "write \"0.0.0.0/0\", or \"balancer\", \"bastion\" or a service's name";
                Diagnostic::new(&field.at, message).hint(hint)
            })
        };
        read.map_err(|problem| reading.fault(value.span, problem))
            .ok()
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }

    fn json(&self) -> Json {
        match self {
            Self::Cidr(cidr) => json!(cidr),
            Self::Group(name) => json!(name),
        }
    }
}

/// An endpoint of a connection, as text: `internet`, `203.0.113.9`, `web/1`.
///
/// [`Config::check`](super::Config::check) checks the names against the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointName(pub String);

impl Setting for EndpointName {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        reading
            .text(value, &field.at, "a name or an address in quotes")
            .map(Self)
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }

    fn json(&self) -> Json {
        json!(self.0)
    }
}

impl Setting for PortRange {
    fn read(value: &mut Value<'_>, field: &Field, reading: &mut Reading) -> Option<Self> {
        if value.as_integer().is_some() {
            return Port::read(value, field, reading).map(Self::one);
        }
        let text = match value.take() {
            ValueInner::String(text) => text,
            other => {
                let what = "a port or a range of ports";
                let hint = Some("write 8000 or \"8000-8100\"".to_owned());
                reading.unfit(value.span, &field.at, what, &other, hint);
                return None;
            }
        };
        let range = port_range(&text);
        if range.is_none() {
            let message = format!("`{text}` is not a range of ports; ports are 1 to 65535");
            let hint = match text.parse::<u16>() {
                Ok(1..) => format!("write {text} without quotes"),
                _ => "write the first and the last, such as \"8000-8100\"".to_owned(),
            };
            reading.fault(value.span, Diagnostic::new(&field.at, message).hint(hint));
        }
        range
    }

    fn schema(_: &Field, _: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": u16::MAX,
            "pattern": "^[0-9]{1,5}-[0-9]{1,5}$",
        })
    }

    fn json(&self) -> Json {
        if self.from == self.to {
            json!(self.from)
        } else {
            json!(self.to_string())
        }
    }
}

/// `8000-8100`; zero may be the first, because rules about all ports start there.
fn port_range(text: &str) -> Option<PortRange> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to).then_some(PortRange { from, to })
}
