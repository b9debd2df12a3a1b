//! Changes that allow a connection, as blocks of `landfall.toml`.

use std::fmt::Write as _;

use landfall_network::reach::{Block as Stop, Remedy, Rule, Target, stand_in};
use landfall_network::{
    AclAction, AclEntry, Direction, EndpointService, Peer, PortRange, Protocol, SecurityRule,
};
use landfall_provider::{Key, kind};

use serde::Serialize;

use crate::config::{Config, SecurityGroup};

/// A change that would allow or block a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A block of `landfall.toml`.
    File(String),
    /// A change that the file cannot express.
    Other(String),
}

/// The change of a block, as keys of the file where they exist.
pub(super) fn of(config: &Config, block: &Stop) -> Option<Change> {
    let remedy = block.remedy.as_ref()?;
    let said = match remedy {
        Remedy::AddGroupRule { group, rule } => Some(group_rule(group, rule)),
        Remedy::AddAclEntry { acl, entry } => Some(acl_entry(acl, entry)),
        Remedy::SetRoute {
            table,
            destination,
            via,
        } => Some(route(table, &destination.to_string(), via)),
        _ => None,
    };
    let Some(said) = said else {
        return Some(Change::Other(remedy.to_string()));
    };
    Some(Change::File(match remark(config, block) {
        Some(remark) => format!("# {remark}\n{said}"),
        None => said,
    }))
}

/// A rule of a security group as a block of the file.
pub(super) fn group_rule(group: &Key, rule: &SecurityRule<Key>) -> String {
    let side = match rule.direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let peer = match &rule.peer {
        // Only the region's prefix list defines the addresses of S3. The stand-in does not belong in a file.
        Peer::Cidr(cidr) if stand_in(EndpointService::S3).contains(cidr) => "0.0.0.0/0".to_owned(),
        Peer::Cidr(cidr) => cidr.to_string(),
        Peer::Group(key) => key.name.to_string(),
    };
    let mut block = Block::new(&format!("network.security-group.{}.rule", group.name));
    block.key(side, &format!("\"{peer}\""));
    block.traffic(rule.protocol, rule.ports);
    block.text
}

fn acl_entry(acl: &Key, entry: &AclEntry) -> String {
    let (side, action) = (
        match entry.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        },
        match entry.action {
            AclAction::Allow => "allow",
            AclAction::Deny => "deny",
        },
    );
    let mut block = Block::new(&format!("network.acl.{}.entry", acl.name));
    block.key("number", &entry.number.to_string());
    block.key("action", &format!("\"{action}\""));
    block.key(side, &format!("\"{}\"", entry.cidr));
    block.traffic(entry.protocol, entry.ports);
    block.text
}

fn route(table: &Key, destination: &str, via: &Target) -> String {
    let tier = tier(table);
    let via = match via {
        Target::InternetGateway(_) => "internet-gateway",
        Target::NatGateway(_) => "nat-gateway",
    };
    let mut block = Block::new(&format!("network.route-table.{tier}.route"));
    block.key("destination", &format!("\"{destination}\""));
    block.key("via", &format!("\"{via}\""));
    block.text
}

/// Public or private: the file has one table for the route tables of all private subnets.
fn tier(table: &Key) -> &str {
    table.name.as_str().split('-').next().unwrap_or_default()
}

/// The identity of a resource in the file, to distinguish causes.
pub(super) fn table(key: &Key) -> String {
    if key.kind == kind::ROUTE_TABLE {
        return format!("{}/{}", key.kind, tier(key));
    }
    key.to_string()
}

/// The keys of the file that block a connection: an entry that denies, derived rules that are left out.
fn remark(config: &Config, block: &Stop) -> Option<String> {
    let key = block.at.key()?;
    let (network, name) = (&config.network, key.name.as_str());
    let left_out = |derive: bool, table: &str| {
        (!derive).then(|| format!("or leave derive = false out of [network.{table}.{name}]"))
    };
    if key.kind == kind::SECURITY_GROUP {
        let derive = network.security_group.get(&key.name)?.derive;
        return left_out(derive, "security-group");
    }
    if key.kind == kind::NETWORK_ACL {
        let acl = match name {
            "public" => &network.acl.public,
            _ => &network.acl.private,
        };
        if let Some(Rule::Entry {
            number: Some(number),
            direction,
        }) = &block.rule
        {
            let own = acl.entry.iter().find(|own| {
                own.number == u32::from(*number) && own.direction() == Some(*direction)
            });
            return own
                .map(|own| format!("or take entry {} out of [network.acl.{name}]", own.number));
        }
        return left_out(acl.derive, "acl");
    }
    None
}

/// A `[[table]]` with its keys.
struct Block {
    text: String,
}

impl Block {
    fn new(table: &str) -> Self {
        Self {
            text: format!("[[{table}]]"),
        }
    }

    fn key(&mut self, key: &str, value: &str) {
        let _ = write!(self.text, "\n{key} = {value}");
    }

    fn traffic(&mut self, protocol: Protocol, ports: PortRange) {
        let (word, has_ports) = match protocol {
            Protocol::Tcp => (None, true),
            Protocol::Udp => (Some("udp"), true),
            Protocol::Icmp => (Some("icmp"), false),
            Protocol::All => (Some("all"), false),
        };
        if let Some(word) = word {
            self.key("protocol", &format!("\"{word}\""));
        }
        match has_ports {
            true if ports.from == ports.to && ports.from > 0 => {
                self.key("ports", &ports.from.to_string());
            }
            true => self.key("ports", &format!("\"{}-{}\"", ports.from, ports.to)),
            false => {}
        }
    }
}

/// Whether the file declares this rule.
pub(super) fn is_own(group: &SecurityGroup, rule: &SecurityRule<Key>) -> bool {
    group.rule.iter().any(|own| {
        let peer = match rule.direction {
            Direction::Ingress => &own.from,
            Direction::Egress => &own.to,
        };
        let same_peer = match (peer, &rule.peer) {
            (Some(Peer::Cidr(own)), Peer::Cidr(cidr)) => own == cidr,
            (Some(Peer::Group(own)), Peer::Group(key)) => *own == key.name,
            _ => false,
        };
        same_peer
            && own.protocol == rule.protocol
            && own.ports.unwrap_or(PortRange::ALL) == rule.ports
            && own.description == rule.description
    })
}
