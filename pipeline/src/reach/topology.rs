//! Builds the topology for traces from a stack, desired or current.

use std::collections::{BTreeMap, BTreeSet};

use landfall_compute::{AutoscalingGroup, GroupInstance, Instance, InstanceState, LaunchTemplate};
use landfall_lb::{Action, Listener, ListenerRule, LoadBalancer, TargetGroup};
use landfall_network::reach::{
    self, Address, AssembleError, Names, Role, Spec, Specs, Topology, assemble, stand_in,
};
use landfall_provider::{
    AutoscalingGroupId, Input, Key, Probe, Resource, Snapshot, Stack, TargetGroupId,
};

/// The instances of each autoscaling group.
pub(super) type Instances = BTreeMap<Key, Vec<GroupInstance>>;

/// The topology of a desired stack. Addresses are unknown; each group has as many
/// instances as desired, and at least one per subnet, because any subnet may get the next one.
pub(crate) fn planned(stack: &Stack) -> Result<Topology, AssembleError> {
    let (topology, left_out) = Builder::new(stack, None)?.build()?;
    if left_out.is_empty() {
        return Ok(topology);
    }
    Err(AssembleError::LeftOut(left_out))
}

/// The topology of the current resources, with the running instances.
pub(super) fn live(snapshot: &Snapshot, instances: &Instances) -> Result<Topology, AssembleError> {
    // During a deletion, other resources may be gone already: the rest of the network is shown.
    let (topology, _) = Builder::new(&usable(snapshot), Some(instances))?.build()?;
    Ok(topology)
}

/// The current resources, without failed ones and those being deleted.
fn usable(snapshot: &Snapshot) -> Snapshot {
    let found = snapshot.found().iter();
    let found = found.filter(|it| matches!(it.state, Probe::Usable(_) | Probe::Pending(_)));
    Snapshot::new(found.cloned().collect())
}

/// The current autoscaling groups, for the query of their instances.
pub(super) fn group_ids(
    snapshot: &Snapshot,
) -> Result<Vec<(Key, AutoscalingGroupId)>, AssembleError> {
    let groups = usable(snapshot).all::<AutoscalingGroup>()?;
    let ids = groups.into_iter();
    let ids = ids.filter_map(|group| Some((group.key, AutoscalingGroupId::from(group.id?))));
    Ok(ids.collect())
}

/// Adds the endpoints to a topology.
struct Builder<'a, S> {
    source: &'a S,
    names: Names,
    topology: Topology,
    /// The running instances; `None` for a desired stack.
    instances: Option<&'a Instances>,
    /// The resources without a place in the network, each with the reason.
    left_out: Vec<String>,
}

impl<'a, S: Specs> Builder<'a, S> {
    fn new(source: &'a S, instances: Option<&'a Instances>) -> Result<Self, AssembleError> {
        let (topology, names) = assemble(source, stand_in)?;
        Ok(Self {
            source,
            names,
            topology,
            instances,
            left_out: Vec::new(),
        })
    }

    fn build(mut self) -> Result<(Topology, Vec<String>), AssembleError> {
        self.balancers()?;
        self.groups()?;
        self.bastion()?;
        Ok((self.topology, self.left_out))
    }

    /// Registers the ids of all resources of a kind.
    fn all<R: Resource>(&mut self) -> Result<Vec<Spec<R>>, AssembleError> {
        let all = self.source.all::<R>()?;
        self.names.learn(&all);
        Ok(all)
    }

    /// Adds load balancers with their nodes, listeners and target groups.
    fn balancers(&mut self) -> Result<(), AssembleError> {
        let balancers = self.all::<LoadBalancer>()?;
        let only = balancers.len() == 1;
        for balancer in balancers {
            let word = if only {
                "balancer"
            } else {
                balancer.key.name.as_str()
            };
            let mut nodes = BTreeSet::new();
            for subnet in self.names.keys(&balancer.spec.subnets) {
                let zone = self
                    .topology
                    .subnets
                    .get(&subnet)
                    .map(|it| it.zone.letter());
                let name = format!("{word}/{}", zone.unwrap_or(subnet.name.as_str()));
                let node = reach::Interface {
                    subnet,
                    address: Address::Pending,
                    public: Some(Address::Pending),
                    groups: self.names.keys(&balancer.spec.groups),
                    role: Role::Node(balancer.key.clone()),
                };
                self.topology.interfaces.insert(name.clone(), node);
                nodes.insert(name);
            }
            let nodes = reach::Balancer {
                nodes,
                listeners: BTreeMap::new(),
            };
            self.topology.balancers.insert(balancer.key, nodes);
        }
        for group in self.all::<TargetGroup>()? {
            let port = group.spec.port.get();
            let group_of_ports = reach::TargetGroup {
                port,
                // Health checks use the port of the service.
                health_port: port,
                targets: BTreeSet::new(),
            };
            self.topology
                .target_groups
                .insert(group.key, group_of_ports);
        }
        let listeners = self.all::<Listener>()?;
        let rules = self.all::<ListenerRule>()?;
        for listener in &listeners {
            let of_listener = rules
                .iter()
                .filter(|rule| self.names.key(&rule.spec.listener) == listener.key);
            let rules = of_listener
                .map(|rule| (rule.key.clone(), self.names.key(&rule.spec.target_group)))
                .collect();
            let Some(default) = forwards_to(listener, &listeners) else {
                let why = format!("{} redirects to a port without a listener", listener.key);
                self.left_out.push(why);
                continue;
            };
            let balancer = self.names.key(&listener.spec.balancer);
            if let Some(nodes) = self.topology.balancers.get_mut(&balancer) {
                let spec = reach::Listener {
                    port: listener.spec.port.get(),
                    default: self.names.key(default),
                    rules,
                };
                nodes.listeners.insert(listener.key.clone(), spec);
            } else {
                let why = format!("{} belongs to {balancer}, which is not there", listener.key);
                self.left_out.push(why);
            }
        }
        Ok(())
    }

    /// Adds the instances of autoscaling groups, in their target groups.
    fn groups(&mut self) -> Result<(), AssembleError> {
        let templates: BTreeMap<Key, LaunchTemplate> = self
            .all::<LaunchTemplate>()?
            .into_iter()
            .map(|template| (template.key, template.spec))
            .collect();
        for group in self.all::<AutoscalingGroup>()? {
            let template = self.names.key(&group.spec.template);
            let groups = match templates.get(&template) {
                Some(template) => self.names.keys(&template.groups),
                None => {
                    let why = format!("{} starts from {template}, which is not there", group.key);
                    self.left_out.push(why);
                    BTreeSet::new()
                }
            };
            let targets = self.names.keys(&group.spec.target_groups);
            let service = &group.key.name;
            for target_group in &targets {
                if !self.topology.target_groups.contains_key(target_group) {
                    let why = format!("{} serves {target_group}, which is not there", group.key);
                    self.left_out.push(why);
                }
            }
            if group.spec.subnets.is_empty() {
                self.left_out.push(format!("{} has no subnet", group.key));
            }
            for (index, (subnet, address)) in self.places(&group).into_iter().enumerate() {
                let name = format!("{service}/{}", index + 1);
                let instance = reach::Interface {
                    subnet,
                    address,
                    public: None,
                    groups: groups.clone(),
                    role: Role::Service(service.clone()),
                };
                self.topology.interfaces.insert(name.clone(), instance);
                for target_group in &targets {
                    if let Some(group) = self.topology.target_groups.get_mut(target_group) {
                        group.targets.insert(name.clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// The subnets of a group's instances.
    fn places(&self, group: &Spec<AutoscalingGroup>) -> Vec<(Key, Address)> {
        let subnets = self.names.keys(&group.spec.subnets);
        if subnets.is_empty() {
            return Vec::new();
        }
        let Some(instances) = self.instances else {
            let count = (group.spec.desired as usize).max(subnets.len());
            let each = subnets.iter().cycle().take(count);
            return each
                .map(|subnet| (subnet.clone(), Address::Pending))
                .collect();
        };
        let runs = |instance: &&GroupInstance| {
            let state = &instance.state;
            matches!(state, InstanceState::Pending | InstanceState::Running)
        };
        let here = instances.get(&group.key).into_iter().flatten().filter(runs);
        let mut here: Vec<&GroupInstance> = here.collect();
        here.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
        let subnet_of = |instance: &GroupInstance| {
            let mut subnets = subnets.iter();
            subnets.find(|subnet| {
                let subnet = self.topology.subnets.get(*subnet);
                subnet.is_some_and(|subnet| subnet.cidr.contains(&instance.private_address))
            })
        };
        here.into_iter()
            .filter_map(|instance| {
                let address = Address::Known(instance.private_address);
                Some((subnet_of(instance)?.clone(), address))
            })
            .collect()
    }

    /// Adds single instances: the bastion, or the one with the service.
    fn bastion(&mut self) -> Result<(), AssembleError> {
        for instance in self.all::<Instance>()? {
            let serves = instance.spec.workload.is_some();
            let output = instance.output.as_ref();
            let public = output.and_then(|output| output.public_address);
            let interface = reach::Interface {
                subnet: self.names.key(&instance.spec.subnet),
                address: address(output.map(|output| output.private_address)),
                public: instance.spec.address.as_ref().map(|_| address(public)),
                groups: self.names.keys(&instance.spec.groups),
                role: match instance.key.name.as_str() {
                    _ if serves => Role::Service(instance.key.name.clone()),
                    "bastion" => Role::Bastion,
                    _ => Role::Other,
                },
            };
            let name = match serves {
                true => format!("{}/1", instance.key.name),
                false => instance.key.name.to_string(),
            };
            self.topology.interfaces.insert(name, interface);
        }
        Ok(())
    }
}

/// The target groups of a listener. A redirect to another port leads to the listener of that port,
/// if it exists.
fn forwards_to<'a>(
    listener: &'a Spec<Listener>,
    all: &'a [Spec<Listener>],
) -> Option<&'a Input<TargetGroupId>> {
    match &listener.spec.action {
        Action::Forward(group) => Some(group),
        Action::RedirectToHttps(port) => {
            let mut others = all.iter();
            let there = others.find(|other| {
                (&other.spec.balancer, other.spec.port) == (&listener.spec.balancer, *port)
            });
            there?.spec.action.target_group()
        }
    }
}

fn address(known: Option<std::net::Ipv4Addr>) -> Address {
    known.map_or(Address::Pending, Address::Known)
}
