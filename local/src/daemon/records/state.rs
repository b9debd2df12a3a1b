//! All records of the cloud, and the rules for every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use landfall_network::Subnet;
use landfall_provider::{
    AutoscalingGroupId, Error, ErrorKind, InstanceId, Key, Kind, Probe, Resource, ResourceName,
    Result, StackName, SubnetId,
};
use serde_json::Value;

use super::addresses;
use super::group::History;
use super::machine::InstanceRecord;
use super::rollout::Rollout;
use super::table::{self, Draft, Entry, LocalResource, Table, find};
use crate::wire::Extras;

/// The records of every kind, and all instances.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    /// Every instance: single ones and those of groups.
    pub(crate) machines: BTreeMap<InstanceId, InstanceRecord>,
    /// The history of each autoscaling group.
    pub(crate) histories: BTreeMap<AutoscalingGroupId, History>,
    /// The rollout of each autoscaling group.
    pub(crate) rollouts: BTreeMap<AutoscalingGroupId, Rollout>,
    /// The number of ids so far; no id is used twice.
    made: u64,
}

impl Default for State {
    /// No records. The ids start at a random number, so that they differ from those of other clouds.
    fn default() -> Self {
        Self {
            tables: Tables::default(),
            machines: BTreeMap::new(),
            histories: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            made: RandomState::new().hash_one(()),
        }
    }
}

/// The result of a create call.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) id: String,
    /// Whether this call created it, so that its hook has to run.
    pub(crate) is_new: bool,
}

/// Defines the tables, and the functions that find the table of a kind by its name.
macro_rules! tables {
    ($($field:ident: $kind:ty,)*) => {
        /// One table per kind.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Tables {
            $(pub(crate) $field: Table<$kind>,)*
        }

        impl State {
            /// Whether there are no resources.
            pub(crate) fn is_empty(&self) -> bool {
                true $(&& self.tables.$field.is_empty())*
            }

            /// The keys of the resources that refer to this id.
            pub(crate) fn referrers(&self, id: &str) -> Vec<Key> {
                let mut referrers = Vec::new();
                $(
                    for (own, entry) in &self.tables.$field {
                        if own.as_ref() != id && refers(&entry.spec, id) {
                            referrers.push(Key::new(<$kind>::KIND, entry.name.clone()));
                        }
                    }
                )*
                referrers.extend(self.machines.values().filter_map(|machine| machine.resolved_refs(id)));
                referrers
            }

            /// Whether a resource of any kind has this id.
            fn holds(&self, id: &str) -> bool {
                false $(|| self.tables.$field.contains_key(&<$kind as Resource>::Id::from(id.to_owned())))*
            }

            /// The resources of a kind in a stack, as `Vec<Live<R>>`.
            pub(crate) fn list(&self, kind: &Kind, stack: &StackName) -> Result<Value> {
                match kind {
                    $(kind if *kind == <$kind>::KIND => to_value(&table::list::<$kind>(self, stack)),)*
                    _ => Err(unknown(kind)),
                }
            }

            /// Creates a resource and returns its id.
            pub(crate) fn create(
                &mut self,
                kind: &Kind,
                stack: &StackName,
                name: &ResourceName,
                spec: &Value,
                extras: &Extras,
            ) -> Result<Made> {
                match kind {
                    $(kind if *kind == <$kind>::KIND => self.make::<$kind>(stack, name, spec, extras),)*
                    _ => Err(unknown(kind)),
                }
            }

            /// Changes a resource in place.
            pub(crate) fn update(&mut self, kind: &Kind, id: &str, spec: &Value, extras: &Extras) -> Result<()> {
                match kind {
                    $(kind if *kind == <$kind>::KIND => self.amend::<$kind>(id, spec, extras),)*
                    _ => Err(unknown(kind)),
                }
            }

            /// The state of a resource, as `Probe<Output>`.
            pub(crate) fn probe(&self, kind: &Kind, id: &str) -> Result<Value> {
                match kind {
                    $(kind if *kind == <$kind>::KIND => {
                        to_value(&table::probe::<$kind>(self, &<$kind as Resource>::Id::from(id.to_owned())))
                    })*
                    _ => Err(unknown(kind)),
                }
            }
        }

        $(
            impl Tabled for $kind {
                fn table(state: &State) -> &Table<Self> {
                    &state.tables.$field
                }
                fn table_mut(state: &mut State) -> &mut Table<Self> {
                    &mut state.tables.$field
                }
            }
        )*
    };
}

/// The table of a kind; implemented by [`tables!`].
pub(crate) trait Tabled: LocalResource {
    fn table(state: &State) -> &Table<Self>;
    fn table_mut(state: &mut State) -> &mut Table<Self>;
}

/// Passes all kinds and the names of their tables to another macro.
macro_rules! each_kind {
    ($define:ident) => {
        $define! {
            vpcs: landfall_network::Vpc,
            internet_gateways: landfall_network::InternetGateway,
            subnets: landfall_network::Subnet,
            elastic_ips: landfall_network::ElasticIp,
            nat_gateways: landfall_network::NatGateway,
            route_tables: landfall_network::RouteTable,
            network_acls: landfall_network::NetworkAcl,
            security_groups: landfall_network::SecurityGroup,
            security_group_rules: landfall_network::SecurityGroupRules,
            gateway_endpoints: landfall_network::GatewayEndpoint,
            key_pairs: landfall_compute::KeyPair,
            instance_profiles: landfall_compute::InstanceProfile,
            launch_templates: landfall_compute::LaunchTemplate,
            autoscaling_groups: landfall_compute::AutoscalingGroup,
            scaling_policies: landfall_compute::ScalingPolicy,
            instances: landfall_compute::Instance,
            load_balancers: landfall_lb::LoadBalancer,
            target_groups: landfall_lb::TargetGroup,
            listeners: landfall_lb::Listener,
            listener_rules: landfall_lb::ListenerRule,
            repositories: landfall_container::Repository,
        }
    };
}
pub(crate) use each_kind;

each_kind!(tables);

impl State {
    fn make<R: Tabled>(
        &mut self,
        stack: &StackName,
        name: &ResourceName,
        spec: &Value,
        extras: &Extras,
    ) -> Result<Made> {
        let spec: R = self.understand(spec)?;
        // If the answer to an earlier call was lost, this resource is its result.
        let same = R::table(self).iter().find(|(id, entry)| {
            &entry.stack == stack
                && &entry.name == name
                && entry.spec == spec
                && !matches!(
                    table::probe::<R>(self, id),
                    Probe::Failed(_) | Probe::Ending(_)
                )
        });
        if let Some((id, _)) = same {
            return Ok(Made {
                id: id.to_string(),
                is_new: false,
            });
        }
        let facts = R::validate_create(
            self,
            &Draft {
                spec: &spec,
                extras,
            },
        )?;
        let id = self.new_id::<R>(&spec);
        let entry = Entry {
            stack: stack.clone(),
            name: name.clone(),
            spec,
            facts,
            ending: false,
        };
        R::table_mut(self).insert(id.clone(), entry);
        Ok(Made {
            id: id.to_string(),
            is_new: true,
        })
    }

    fn amend<R: Tabled>(&mut self, id: &str, spec: &Value, extras: &Extras) -> Result<()> {
        let spec: R = self.understand(spec)?;
        let id = R::Id::from(id.to_owned());
        let old = find::<R>(self, &id)?;
        let new = Draft {
            spec: &spec,
            extras,
        };
        let facts = R::amend(self, old, &new)?;
        if let Some(entry) = R::table_mut(self).get_mut(&id) {
            entry.spec = spec;
            entry.facts = facts;
        }
        Ok(())
    }

    /// Starts the deletion of a resource.
    pub(crate) fn end<R: Tabled>(&mut self, id: &R::Id) -> Result<()> {
        let Some(entry) = R::table(self).get(id) else {
            return Ok(());
        };
        R::check_deletable(id, entry)?;
        if let Some(referrer) = self.referrers(id.as_ref()).first() {
            return Err(Error::new(
                ErrorKind::InUse,
                format_args!("{id} is in use by {referrer}"),
            ));
        }
        if R::ENDS_AT_ONCE {
            R::table_mut(self).remove(id);
        } else if let Some(entry) = R::table_mut(self).get_mut(id) {
            entry.ending = true;
        }
        Ok(())
    }

    /// Deserializes a spec and checks that the resources it refers to exist.
    fn understand<R: Resource>(&self, spec: &Value) -> Result<R> {
        let mut spec: R = serde_json::from_value(spec.clone()).map_err(|error| {
            Error::new(ErrorKind::Invalid, format_args!("this is no {}", R::KIND)).caused_by(error)
        })?;
        for reference in spec.references() {
            match reference.id() {
                // Images are in the client's store, not in these records.
                Some(id)
                    if reference.kind() == landfall_provider::kind::IMAGE || self.holds(id) => {}
                Some(id) => {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format_args!("`{id}` does not exist"),
                    ));
                }
                None => {
                    return Err(Error::new(ErrorKind::Invalid, "a reference has no id yet"));
                }
            }
        }
        Ok(spec)
    }

    fn new_id<R: LocalResource>(&mut self, spec: &R) -> R::Id {
        R::id(spec).unwrap_or_else(|| R::Id::from(self.unique(R::PREFIX)))
    }

    /// A new, unused id.
    pub(crate) fn unique(&mut self, prefix: &str) -> String {
        self.made = self.made.wrapping_add(1);
        // The multiplication spreads the number over all digits: people tell ids apart by their ends.
        format!(
            "{prefix}-{:017x}",
            self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4
        )
    }

    /// The public addresses in use.
    pub(crate) fn public_taken(&self) -> BTreeSet<Ipv4Addr> {
        let elastic = self
            .tables
            .elastic_ips
            .values()
            .map(|entry| entry.facts.address);
        let nodes = self
            .tables
            .load_balancers
            .values()
            .flat_map(|entry| &entry.facts.nodes)
            .map(|node| node.public);
        elastic.chain(nodes).collect()
    }

    /// A free public address.
    pub(crate) fn new_public_address(&self, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr> {
        addresses::public(taken).ok_or_else(|| {
            Error::new(
                ErrorKind::Limit,
                format_args!("all public addresses of {} are taken", addresses::PUBLIC),
            )
            .hint("destroy a stack that is not needed: `landfall destroy --stack NAME`")
        })
    }

    /// A free address of a subnet.
    pub(crate) fn new_private_address(&self, subnet: &SubnetId) -> Result<Ipv4Addr> {
        let of_subnet = |other: &SubnetId| other == subnet;
        let gateways = self
            .tables
            .nat_gateways
            .values()
            .filter(|entry| entry.spec.subnet.known().is_some_and(of_subnet))
            .map(|entry| entry.facts.private);
        let nodes = self
            .tables
            .load_balancers
            .values()
            .flat_map(|entry| &entry.facts.nodes)
            .filter(|node| of_subnet(&node.subnet))
            .map(|node| node.private);
        let machines = self
            .machines
            .values()
            .filter(|machine| of_subnet(&machine.subnet))
            .map(|machine| machine.address);
        let taken = gateways.chain(nodes).chain(machines).collect();
        let cidr = find::<Subnet>(self, subnet)?.spec.cidr;
        addresses::private(cidr, &taken).ok_or_else(|| {
            Error::new(
                ErrorKind::Limit,
                format_args!("{subnet} has no free address left in {cidr}"),
            )
        })
    }
}

fn refers<R: Resource>(spec: &R, id: &str) -> bool {
    spec.clone()
        .references()
        .into_iter()
        .any(|reference| reference.id() == Some(id))
}

/// The error about an unknown kind.
pub(crate) fn unknown(kind: &Kind) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format_args!("the local cloud does not hold resources of kind {kind}"),
    )
}

fn to_value<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| {
        Error::new(ErrorKind::Other, "a record does not go into JSON").caused_by(error)
    })
}
