//! Assembles a topology from this crate's specs, of a desired stack or of a provider's live
//! resources.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use landfall_provider::{
    Input, Key, Kind, Probe, Resource, ResourceId, ResourceName, Snapshot, SpecMismatch, Stack,
};
use serde::Deserialize;

use super::topology::{
    Address, Endpoint, NatGateway, NetworkAcl, RouteTable, SecurityGroup, Subnet, Target, Topology,
};
use crate::EndpointService;

/// One resource, desired or live.
#[derive(Debug, Clone)]
pub struct Spec<R: Resource> {
    /// Its key.
    pub key: Key,
    /// Its id, once it exists.
    pub id: Option<String>,
    /// Its spec.
    pub spec: R,
    /// Its output, once it is usable.
    pub output: Option<R::Output>,
}

/// A source of specs.
pub trait Specs {
    /// All of one kind, in the order of keys.
    ///
    /// # Errors
    /// The first one that does not have the form of its kind: none is left out.
    fn all<R: Resource>(&self) -> Result<Vec<Spec<R>>, SpecMismatch>;
}

impl Specs for Stack {
    fn all<R: Resource>(&self) -> Result<Vec<Spec<R>>, SpecMismatch> {
        let keys = self.resources().keys().filter(|key| key.kind == R::KIND);
        let mut all = Vec::new();
        for key in keys {
            all.extend(self.get(&key.name)?.map(|spec| Spec {
                key: key.clone(),
                id: None,
                spec,
                output: None,
            }));
        }
        Ok(all)
    }
}

impl Specs for Snapshot {
    fn all<R: Resource>(&self) -> Result<Vec<Spec<R>>, SpecMismatch> {
        let kind = R::KIND;
        let specs = self.of_kind(&kind).map(|found| {
            let mismatch = |error| SpecMismatch::new(found.key.clone(), &error);
            let output = match &found.state {
                Probe::Usable(output) => Some(R::Output::deserialize(output).map_err(mismatch)?),
                _ => None,
            };
            Ok(Spec {
                key: found.key.clone(),
                id: Some(found.id.clone()),
                spec: R::deserialize(&found.spec).map_err(mismatch)?,
                output,
            })
        });
        specs.collect()
    }
}

/// The keys of ids.
#[derive(Debug, Clone, Default)]
pub struct Names {
    keys: BTreeMap<(Kind, String), Key>,
}

impl Names {
    /// Adds the ids of these resources.
    pub fn learn<R: Resource>(&mut self, specs: &[Spec<R>]) {
        for spec in specs {
            if let Some(id) = &spec.id {
                self.keys.insert((R::KIND, id.clone()), spec.key.clone());
            }
        }
    }

    /// The key of the resource that a field refers to. A resource outside the stack is named by its
    /// id.
    pub fn key<T: ResourceId>(&self, input: &Input<T>) -> Key {
        match input {
            Input::Of(key, _) => key.clone(),
            Input::Known(id) => {
                let known = self.keys.get(&(T::KIND, id.as_ref().to_owned()));
                known.cloned().unwrap_or_else(|| foreign::<T>(id.as_ref()))
            }
        }
    }

    /// The keys of the resources that a field refers to.
    pub fn keys<T: ResourceId>(&self, inputs: &[Input<T>]) -> BTreeSet<Key> {
        inputs.iter().map(|input| self.key(input)).collect()
    }
}

/// A key for a resource outside the stack: its id, without the characters that a name cannot have.
fn foreign<T: ResourceId>(id: &str) -> Key {
    let words: Vec<String> = id
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let mut name = format!("id-{}", words.join("-"));
    if ResourceName::new(words.join("-")).is_ok() {
        name = words.join("-");
    }
    name.truncate(63);
    let name = ResourceName::new(name.trim_end_matches('-'))
        .expect("letters, digits and single hyphens, a letter first, at most 63");
    Key::new(T::KIND, name)
}

/// The reason why no topology can be assembled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// There is no VPC.
    #[error("there is no VPC")]
    NoVpc,
    /// There is more than one VPC.
    #[error("there are {} VPCs, and a topology is of one: {}", .0.len(), list(.0))]
    SeveralVpcs(Vec<Key>),
    /// A resource cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecMismatch),
    /// Resources have no place in the topology, each with the reason. A check without them would
    /// prove nothing.
    #[error("{}", .0.join("; "))]
    LeftOut(Vec<String>),
}

fn list(keys: &[Key]) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    keys.join(", ")
}

/// The assumed addresses of a service where its real ones are unknown: a block that is reserved for
/// documentation (RFC 5737), which the local cloud really uses.
pub fn stand_in(service: EndpointService) -> Vec<Ipv4Net> {
    match service {
        EndpointService::S3 => {
            vec![Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24)]
        }
    }
}

/// Assembles the network without interfaces, balancers and target groups: these are kinds of other
/// crates, whose callers add them. [`Names`] resolves their references.
///
/// `prefixes` returns the addresses of a service: [`stand_in`] where they are unknown.
///
/// # Errors
/// [`AssembleError`] when there is not exactly one VPC, or a resource cannot be read.
pub fn assemble(
    source: &impl Specs,
    prefixes: impl Fn(EndpointService) -> Vec<Ipv4Net>,
) -> Result<(Topology, Names), AssembleError> {
    let vpcs = source.all::<crate::Vpc>()?;
    let vpc = match vpcs.as_slice() {
        [] => return Err(AssembleError::NoVpc),
        [vpc] => vpc,
        several => {
            let keys = several.iter().map(|vpc| vpc.key.clone());
            return Err(AssembleError::SeveralVpcs(keys.collect()));
        }
    };
    let mut topology = Topology::new(vpc.spec.cidr);
    let mut names = Names::default();

    let gateways = source.all::<crate::InternetGateway>()?;
    names.learn(&gateways);
    topology.internet_gateway = gateways.into_iter().next().map(|gateway| gateway.key);

    let subnets = source.all::<crate::Subnet>()?;
    names.learn(&subnets);
    for subnet in subnets {
        topology.subnets.insert(
            subnet.key,
            Subnet {
                cidr: subnet.spec.cidr,
                zone: subnet.spec.zone,
                route_table: None,
                network_acl: None,
            },
        );
    }

    let gateways = source.all::<crate::NatGateway>()?;
    names.learn(&gateways);
    for gateway in gateways {
        let public = gateway.output.map(|output| output.public_address);
        topology.nat_gateways.insert(
            gateway.key,
            NatGateway {
                subnet: names.key(&gateway.spec.subnet),
                public: public.map_or(Address::Pending, Address::Known),
            },
        );
    }
    add_tables(source, &mut topology, &mut names)?;
    add_acls(source, &mut topology, &mut names)?;
    add_groups(source, &mut topology, &mut names)?;
    for endpoint in source.all::<crate::GatewayEndpoint>()? {
        topology.endpoints.insert(
            endpoint.key,
            Endpoint {
                service: endpoint.spec.service,
                prefixes: prefixes(endpoint.spec.service),
                route_tables: names.keys(&endpoint.spec.route_tables),
            },
        );
    }
    Ok((topology, names))
}

fn add_tables(
    source: &impl Specs,
    topology: &mut Topology,
    names: &mut Names,
) -> Result<(), SpecMismatch> {
    let tables = source.all::<crate::RouteTable>()?;
    names.learn(&tables);
    for table in tables {
        for subnet in names.keys(&table.spec.subnets) {
            if let Some(subnet) = topology.subnets.get_mut(&subnet) {
                subnet.route_table = Some(table.key.clone());
            }
        }
        let routes = table.spec.routes.iter().map(|route| {
            let target = match &route.via {
                crate::RouteTarget::InternetGateway(id) => Target::InternetGateway(names.key(id)),
                crate::RouteTarget::NatGateway(id) => Target::NatGateway(names.key(id)),
            };
            (route.destination.trunc(), target)
        });
        let routes = routes.collect();
        topology
            .route_tables
            .insert(table.key, RouteTable { routes });
    }
    Ok(())
}

fn add_acls(
    source: &impl Specs,
    topology: &mut Topology,
    names: &mut Names,
) -> Result<(), SpecMismatch> {
    let acls = source.all::<crate::NetworkAcl>()?;
    names.learn(&acls);
    for acl in acls {
        for subnet in names.keys(&acl.spec.subnets) {
            if let Some(subnet) = topology.subnets.get_mut(&subnet) {
                subnet.network_acl = Some(acl.key.clone());
            }
        }
        let entries = acl.spec.entries;
        topology
            .network_acls
            .insert(acl.key, NetworkAcl { entries });
    }
    Ok(())
}

fn add_groups(
    source: &impl Specs,
    topology: &mut Topology,
    names: &mut Names,
) -> Result<(), SpecMismatch> {
    let groups = source.all::<crate::SecurityGroup>()?;
    names.learn(&groups);
    for group in groups {
        let rules = SecurityGroup::default();
        topology.security_groups.insert(group.key, rules);
    }
    for rules in source.all::<crate::SecurityGroupRules>()? {
        let key = names.key(&rules.spec.group);
        let group = topology.security_groups.entry(key).or_default();
        let rules = rules.spec.rules.into_iter();
        group
            .rules
            .extend(rules.map(|rule| rule.map_group(|id| names.key(&id))));
    }
    Ok(())
}
