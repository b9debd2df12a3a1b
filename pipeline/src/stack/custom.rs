//! Adds the custom rules of the file to the network of the blueprint.

use std::collections::BTreeSet;

use landfall_network::{
    AclEntry, Direction, MAX_ACL_ENTRIES, Network, NetworkAcl, Peer, PortRange, Route, RouteTable,
    RouteTarget, SecurityGroupRules, SecurityRule,
};
use landfall_provider::{Input, ResourceName, SecurityGroupId, SpecMismatch, Stack};

use super::StackError;
use crate::config::{self, Config, Diagnostic, RouteVia};

/// Adds the custom rules to the derived ones, or replaces the derived ones.
///
/// # Errors
/// [`StackError::Config`] when an entry has the number of a derived one, or an ACL has too many.
pub(crate) fn add_custom_rules(
    config: &Config,
    stack: &mut Stack,
    network: &Network,
    group: impl Fn(&ResourceName) -> Option<Input<SecurityGroupId>>,
) -> Result<(), StackError> {
    for (name, own) in &config.network.security_group {
        let rules: Vec<_> = own
            .rule
            .iter()
            .filter_map(|rule| security_rule(rule, &group))
            .collect();
        stack.amend::<SecurityGroupRules>(name, |group| {
            if !own.derive {
                group.rules.clear();
            }
            group.rules.extend(rules);
        })?;
    }
    let mut problems = Vec::new();
    let acls = &config.network.acl;
    for (tier, own) in [("public", &acls.public), ("private", &acls.private)] {
        stack.amend::<NetworkAcl>(&name(tier), |acl| {
            if !own.derive {
                acl.entries.clear();
            }
            problems.extend(add_entries(&mut acl.entries, own, tier));
        })?;
    }
    if !problems.is_empty() {
        return Err(StackError::Config(problems));
    }
    add_routes(config, stack, network)?;
    Ok(())
}

fn security_rule(
    rule: &config::CustomSecurityRule,
    group: &impl Fn(&ResourceName) -> Option<Input<SecurityGroupId>>,
) -> Option<SecurityRule> {
    let (direction, peer) = match (&rule.from, &rule.to) {
        (Some(peer), _) => (Direction::Ingress, peer),
        (None, Some(peer)) => (Direction::Egress, peer),
        (None, None) => return None,
    };
    let peer = match peer {
        Peer::Cidr(cidr) => Peer::Cidr(*cidr),
        Peer::Group(name) => Peer::Group(group(name)?),
    };
    Some(SecurityRule {
        direction,
        protocol: rule.protocol,
        ports: rule.ports.unwrap_or(PortRange::ALL),
        peer,
        description: rule.description.clone(),
    })
}

fn add_entries(entries: &mut Vec<AclEntry>, own: &config::Acl, tier: &str) -> Option<Diagnostic> {
    let at = format!("network.acl.{tier}");
    let taken: BTreeSet<_> = entries
        .iter()
        .map(|entry| (entry.direction, entry.number))
        .collect();
    for (index, entry) in own.entry.iter().enumerate() {
        let Some(direction) = entry.direction() else {
            continue;
        };
        // The range of the key keeps the number within 15 bits.
        let number = u16::try_from(entry.number).unwrap_or(u16::MAX);
        if taken.contains(&(direction, number)) {
            let message = format!("the {direction} entry {number} is taken by a derived one");
            let hint = "1 to 99 precede the derived entries; derived numbers end with 0, so others fit between them";
            let at = format!("{at}.entry[{index}].number");
            return Some(Diagnostic::new(at, message).hint(hint));
        }
        entries.push(AclEntry {
            number,
            direction,
            action: entry.action,
            protocol: entry.protocol,
            ports: entry.ports.unwrap_or(PortRange::ALL),
            cidr: entry.from.or(entry.to)?,
        });
    }
    entries.sort_by_key(|entry| (entry.direction, entry.number));
    let too_many = |direction| {
        let of_direction = entries.iter().filter(|entry| entry.direction == direction);
        let number = of_direction.count();
        (number > MAX_ACL_ENTRIES).then(|| {
            let message = format!(
                "the network ACL of the {tier} subnets would have {number} {direction} entries, \
                 and AWS takes {MAX_ACL_ENTRIES} at the most"
            );
            Diagnostic::new(&at, message)
                .hint("use larger blocks and port ranges instead of single ones")
        })
    };
    too_many(Direction::Ingress).or_else(|| too_many(Direction::Egress))
}

fn add_routes(config: &Config, stack: &mut Stack, network: &Network) -> Result<(), SpecMismatch> {
    let tables = &config.network.route_table;
    change_routes(stack, &name("public"), &tables.public, |_| {
        RouteTarget::InternetGateway(network.internet_gateway.id())
    })?;
    for (zone, tier) in network.private.iter().enumerate() {
        let gateways = &network.nat_gateways;
        let gateway = gateways.get(zone).or(gateways.first());
        let table = name(&format!("private-{}", tier.zone.letter()));
        change_routes(stack, &table, &tables.private, |via| match (via, gateway) {
            (RouteVia::NatGateway, Some(gateway)) => RouteTarget::NatGateway(gateway.id()),
            _ => RouteTarget::InternetGateway(network.internet_gateway.id()),
        })?;
    }
    Ok(())
}

fn change_routes(
    stack: &mut Stack,
    name: &ResourceName,
    own: &config::RouteTable,
    target: impl Fn(RouteVia) -> RouteTarget,
) -> Result<bool, SpecMismatch> {
    stack.amend::<RouteTable>(name, |table| {
        // A custom route replaces the derived one to the same addresses.
        let replaced = |route: &Route| {
            let mut own = own.route.iter();
            own.any(|own| own.destination == route.destination)
        };
        table.routes.retain(|route| own.derive && !replaced(route));
        table.routes.extend(own.route.iter().map(|route| Route {
            destination: route.destination,
            via: target(route.via),
        }));
    })
}

fn name(text: &str) -> ResourceName {
    ResourceName::new(text).expect("the blueprint's words and a zone's letter make a name")
}
