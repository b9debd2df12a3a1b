//! The names of endpoints: `internet`, `web/1`, `203.0.113.9`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_network::EndpointService;
use landfall_network::reach::{End, Role, Topology};

use crate::config::{for_name, is_address};

/// An unknown name of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EndpointNameError {
    /// What is wrong with it, in one line.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl EndpointNameError {
    fn new(message: String, hint: impl Into<String>) -> Self {
        Self {
            message,
            hint: hint.into(),
        }
    }
}

/// The endpoints with a name: one, or the instances of a service.
///
/// # Errors
/// [`EndpointNameError`] for an invalid address, and for an unknown name, with the nearest known one.
pub(crate) fn ends(text: &str, topology: &Topology) -> Result<Vec<End>, EndpointNameError> {
    if is_address(text) {
        return Ok(vec![address(text)?]);
    }
    let found = match text {
        "internet" => vec![End::Internet],
        "balancer" | "lb" => {
            let balancers = topology.balancers.keys().cloned();
            balancers.map(End::Balancer).collect()
        }
        "s3" => {
            let mut endpoints = topology.endpoints.values();
            let found = endpoints.find(|endpoint| endpoint.service == EndpointService::S3);
            found
                .map(|endpoint| End::Service(endpoint.service))
                .into_iter()
                .collect()
        }
        name => named(name, topology),
    };
    if found.is_empty() {
        let message = format!("`{text}` is not in this network");
        return Err(EndpointNameError::new(
            message,
            for_name(text, &words(topology)),
        ));
    }
    Ok(found)
}

/// An interface, the instances of a service, or a NAT gateway.
fn named(name: &str, topology: &Topology) -> Vec<End> {
    if topology.interfaces.contains_key(name) {
        return vec![End::Interface(name.to_owned())];
    }
    let of_service = topology
        .interfaces
        .iter()
        .filter(|(_, it)| matches!(&it.role, Role::Service(service) if service.as_str() == name));
    let gateways = topology
        .nat_gateways
        .keys()
        .filter(|key| key.to_string() == name);
    let mut found: Vec<End> = of_service
        .map(|(name, _)| End::Interface(name.clone()))
        .collect();
    found.sort_by_key(ordinal);
    found.extend(gateways.map(|key| End::NatGateway(key.clone())));
    found
}

/// `web/2` comes before `web/10`.
pub(super) fn ordinal(end: &End) -> (String, u32) {
    let text = end.to_string();
    match text.rsplit_once('/') {
        Some((word, number)) => (word.to_owned(), number.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

fn address(text: &str) -> Result<End, EndpointNameError> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(End::from(address));
    }
    match text.parse::<Ipv4Net>() {
        Ok(net) if net.prefix_len() == 0 => Ok(End::Internet),
        Ok(net) => Ok(End::Addresses(net.trunc())),
        Err(_) if text.contains(':') => Err(EndpointNameError::new(
            format!("`{text}` is not an IPv4 address"),
            "only IPv4 is supported",
        )),
        Err(_) => Err(EndpointNameError::new(
            format!("`{text}` is neither an IPv4 address nor an IPv4 block"),
            "write an address such as 203.0.113.9, a block such as 203.0.113.0/24, or a name",
        )),
    }
}

/// All names.
fn words(topology: &Topology) -> Vec<String> {
    let mut words = vec!["internet".to_owned()];
    if !topology.balancers.is_empty() {
        words.push("balancer".to_owned());
    }
    if !topology.endpoints.is_empty() {
        words.push("s3".to_owned());
    }
    let mut instances = Vec::new();
    for (name, interface) in &topology.interfaces {
        match &interface.role {
            Role::Service(service) => {
                let service = service.to_string();
                if !words.contains(&service) {
                    words.push(service);
                }
                instances.push(name.clone());
            }
            Role::Bastion | Role::Other => words.push(name.clone()),
            Role::Node(_) => {}
        }
    }
    words.extend(instances);
    words.extend(topology.nat_gateways.keys().map(ToString::to_string));
    words
}

/// The name of an endpoint for people: `balancer`, not `load-balancer/main`.
pub(super) fn word(end: &End) -> String {
    match end {
        End::Balancer(key) if key.name.as_str() == "main" => "balancer".to_owned(),
        end => end.to_string(),
    }
}
