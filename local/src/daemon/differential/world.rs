//! A network to be asked about: specs, as a stack has them, with ids and addresses already given.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use landfall_compute::Instance;
use landfall_lb::LoadBalancer;
use landfall_network::{
    ElasticIp, EndpointService, GatewayEndpoint, InternetGateway, NatGateway, NetworkAcl, Peer,
    PortRange, Protocol, RouteTable, SecurityGroup, SecurityGroupRules, SecurityRule, Subnet, Vpc,
};
use landfall_provider::{
    AllocationId, Input, InstanceId, InternetGatewayId, NatGatewayId, NetworkAclId, ResourceName,
    RouteTableId, SecurityGroupId, StackName, SubnetId, VpcId,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::packets::{PacketEndpoint, Probe};
use crate::daemon::records::kinds::elastic_ip::ElasticIpStatus;
use crate::daemon::records::kinds::instance::InstanceStatus;
use crate::daemon::records::kinds::load_balancer::{LoadBalancerStatus, Node};
use crate::daemon::records::kinds::nat_gateway::NatGatewayStatus;
use crate::daemon::records::machine::{InstanceRecord, Phase};
use crate::daemon::records::state::State;
use crate::daemon::records::table::{Entry, LocalResource};
use crate::daemon::records::topology::{instance_interface, node_interface};
use crate::secrets::Secrets;
use landfall_vnet::{InterfaceId, S3_ADDRESS};

/// The hosts on the internet that send and are sent to.
pub(super) const OPERATORS: [Ipv4Addr; 2] = [
    Ipv4Addr::new(203, 0, 113, 250),
    Ipv4Addr::new(203, 0, 113, 251),
];

/// The one VPC.
pub(super) const VPC: &str = "vpc-1";
/// Its internet gateway, if it has one.
pub(super) const INTERNET_GATEWAY: &str = "igw-1";
/// Its balancer, if it has one.
pub(super) const BALANCER: &str = "lb-1";
/// Its endpoint for S3, if it has one.
pub(super) const ENDPOINT: &str = "vpce-1";

/// A VPC and everything in it. A field that a case leaves out is empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestTopology {
    pub(super) vpc: Vpc,
    pub(super) internet_gateway: bool,
    pub(super) subnets: BTreeMap<SubnetId, Subnet>,
    #[serde(default)]
    pub(super) route_tables: BTreeMap<RouteTableId, RouteTable>,
    #[serde(default)]
    pub(super) network_acls: BTreeMap<NetworkAclId, NetworkAcl>,
    #[serde(default)]
    pub(super) groups: BTreeMap<SecurityGroupId, Vec<SecurityRule>>,
    #[serde(default)]
    pub(super) nat_gateways: BTreeMap<NatGatewayId, Gateway>,
    /// The route tables of the endpoint for S3.
    #[serde(default)]
    pub(super) endpoint: Option<Vec<RouteTableId>>,
    #[serde(default)]
    pub(super) instances: BTreeMap<InstanceId, Host>,
    #[serde(default)]
    pub(super) balancer: Option<Balancer>,
}

/// A NAT gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Gateway {
    pub(super) subnet: SubnetId,
    pub(super) address: Ipv4Addr,
    pub(super) public_address: Ipv4Addr,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Host {
    pub(super) subnet: SubnetId,
    pub(super) address: Ipv4Addr,
    pub(super) public_address: Option<Ipv4Addr>,
    pub(super) groups: Vec<SecurityGroupId>,
}

/// A balancer: nodes, each in a zone of its own, with the same groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Balancer {
    pub(super) groups: Vec<SecurityGroupId>,
    pub(super) nodes: Vec<Gateway>,
}

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Sender {
    /// A host on the internet.
    Internet(Ipv4Addr),
    /// An instance.
    Instance(InstanceId),
    /// A node of the balancer, by its place.
    Node(usize),
}

/// Something to be tried: from whom, to which address, how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flow {
    pub(super) from: Sender,
    pub(super) to: Ipv4Addr,
    pub(super) protocol: Protocol,
    /// Ignored for ICMP.
    pub(super) port: u16,
    /// The ports that it may come from; those that its sender takes if none are given.
    #[serde(default)]
    pub(super) source_ports: Option<PortRange>,
    /// Whether a TCP server listens.
    #[serde(default)]
    pub(super) served: bool,
}

/// A world and a flow that it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) world: TestTopology,
    pub(super) flow: Flow,
}

impl TestTopology {
    /// Whether an interface or a rule refers to a group.
    pub(super) fn names(&self, group: &SecurityGroupId) -> bool {
        let hosts = self.instances.values().map(|host| &host.groups);
        let balancer = self.balancer.iter().map(|balancer| &balancer.groups);
        let mut rules = self.groups.values().flatten();
        hosts.chain(balancer).flatten().any(|other| other == group)
            || rules.any(|rule| matches!(&rule.peer, Peer::Group(id) if id.known() == Some(group)))
    }

    /// The records that a cloud has of it.
    pub(super) fn records(&self) -> State {
        let mut state = State::default();
        let tables = &mut state.tables;
        let vpc = || Input::from(VpcId::from(VPC));
        tables.vpcs.insert(VPC.into(), entry(self.vpc.clone(), ()));
        if self.internet_gateway {
            let gateway = InternetGateway { vpc: vpc() };
            let id = InternetGatewayId::from(INTERNET_GATEWAY);
            tables.internet_gateways.insert(id, entry(gateway, ()));
        }
        for (id, subnet) in &self.subnets {
            tables.subnets.insert(id.clone(), entry(subnet.clone(), ()));
        }
        for (id, table) in &self.route_tables {
            let entry = entry(table.clone(), ());
            tables.route_tables.insert(id.clone(), entry);
        }
        for (id, acl) in &self.network_acls {
            let entry = entry(acl.clone(), ());
            tables.network_acls.insert(id.clone(), entry);
        }
        for (id, rules) in &self.groups {
            let group = SecurityGroup {
                vpc: vpc(),
                description: String::new(),
            };
            let rules = SecurityGroupRules {
                group: id.clone().into(),
                rules: rules.clone(),
            };
            tables.security_groups.insert(id.clone(), entry(group, ()));
            let id = format!("{id}/rules").into();
            tables.security_group_rules.insert(id, entry(rules, ()));
        }
        if let Some(route_tables) = &self.endpoint {
            let endpoint = GatewayEndpoint {
                vpc: vpc(),
                service: EndpointService::S3,
                route_tables: route_tables.iter().cloned().map(Input::from).collect(),
            };
            tables
                .gateway_endpoints
                .insert(ENDPOINT.into(), entry(endpoint, ()));
        }
        for (id, gateway) in &self.nat_gateways {
            let address = elastic_ip(&mut state, id, gateway.public_address);
            let facts = NatGatewayStatus {
                private: gateway.address,
                public: gateway.public_address,
            };
            let gateway = NatGateway {
                subnet: gateway.subnet.clone().into(),
                address: address.into(),
            };
            let entry = entry(gateway, facts);
            state.tables.nat_gateways.insert(id.clone(), entry);
        }
        for (id, host) in &self.instances {
            self.add_instance(&mut state, id, host);
        }
        if let Some(balancer) = &self.balancer {
            let spec = LoadBalancer {
                vpc: vpc(),
                subnets: balancer
                    .nodes
                    .iter()
                    .map(|node| node.subnet.clone().into())
                    .collect(),
                groups: inputs(&balancer.groups),
                idle_timeout: 60,
                protected: false,
            };
            let nodes = balancer.nodes.iter().map(|node| Node {
                zone: self.subnets[&node.subnet].zone.clone(),
                subnet: node.subnet.clone(),
                private: node.address,
                public: node.public_address,
            });
            let facts = LoadBalancerStatus {
                nodes: nodes.collect(),
            };
            let entry = entry(spec, facts);
            state.tables.load_balancers.insert(BALANCER.into(), entry);
        }
        state
    }

    fn add_instance(&self, state: &mut State, id: &InstanceId, host: &Host) {
        let address = host.public_address;
        let address = address.map(|address| elastic_ip(state, id, address).into());
        let instance = Instance {
            subnet: host.subnet.clone().into(),
            groups: inputs(&host.groups),
            instance_type: "t3.micro".to_owned(),
            address,
            workload: None,
            key: None,
            profile: None,
        };
        let entry = entry(instance, InstanceStatus::default());
        state.tables.instances.insert(id.clone(), entry);
        let machine = InstanceRecord {
            group: None,
            hostname: id.to_string(),
            zone: self.subnets[&host.subnet].zone.clone(),
            subnet: host.subnet.clone(),
            address: host.address,
            groups: host.groups.clone(),
            workload: None,
            key: None,
            image_store: PathBuf::new(),
            secrets: Secrets::default(),
            template_version: 0,
            phase: Phase::Running,
            launched: Instant::now(),
            ended: None,
            was_healthy: true,
        };
        state.machines.insert(id.clone(), machine);
    }

    /// Whether a flow ends where it begins.
    pub(super) fn is_to_itself(&self, flow: &Flow) -> bool {
        let probe = self.probe(flow, 0, None);
        probe.arrives.is_some_and(|(place, _)| place == probe.from)
    }

    /// A flow as it is sent from one port.
    pub(super) fn probe(
        &self,
        flow: &Flow,
        source_port: u16,
        through: Option<&NatGatewayId>,
    ) -> Probe {
        let (from, source) = match &flow.from {
            Sender::Internet(host) => (PacketEndpoint::Internet, *host),
            Sender::Instance(id) => {
                let address = self.instances[id].address;
                (PacketEndpoint::Interface(instance_interface(id)), address)
            }
            Sender::Node(index) => {
                let node = &self.balancer.as_ref().expect("it has a balancer").nodes[*index];
                (
                    PacketEndpoint::Interface(self.node_interface(node)),
                    node.address,
                )
            }
        };
        Probe {
            from,
            source,
            to: flow.to,
            arrives: self.holder(flow.to),
            through: through.map(|id| (id.clone(), self.nat_gateways[id].address)),
            protocol: flow.protocol,
            port: flow.port,
            source_port,
            served: flow.served,
        }
    }

    /// Where packets to an address should come out, and the address that they then have.
    pub(super) fn holder(&self, address: Ipv4Addr) -> Option<(PacketEndpoint, Ipv4Addr)> {
        if OPERATORS.contains(&address) || address == S3_ADDRESS {
            return Some((PacketEndpoint::Internet, address));
        }
        let interfaces = self.interfaces().into_iter();
        interfaces
            .filter(|(_, private, public)| *private == address || *public == Some(address))
            .map(|(id, private, _)| (PacketEndpoint::Interface(id), private))
            .next()
    }

    /// Every interface with its private and its public address.
    pub(super) fn interfaces(&self) -> Vec<(InterfaceId, Ipv4Addr, Option<Ipv4Addr>)> {
        let instances = self.instances.iter();
        let instances =
            instances.map(|(id, host)| (instance_interface(id), host.address, host.public_address));
        let nodes = self.balancer.iter().flat_map(|balancer| &balancer.nodes);
        let nodes = nodes.map(|node| {
            let public = Some(node.public_address);
            (self.node_interface(node), node.address, public)
        });
        instances.chain(nodes).collect()
    }

    fn node_interface(&self, node: &Gateway) -> InterfaceId {
        node_interface(&BALANCER.into(), &self.subnets[&node.subnet].zone)
    }
}

fn elastic_ip(state: &mut State, owner: &impl ToString, address: Ipv4Addr) -> AllocationId {
    let id = AllocationId::from(format!("eipalloc-{}", owner.to_string()));
    let entry = entry(ElasticIp {}, ElasticIpStatus { address });
    state.tables.elastic_ips.insert(id.clone(), entry);
    id
}

fn inputs(groups: &[SecurityGroupId]) -> Vec<Input<SecurityGroupId>> {
    groups.iter().cloned().map(Input::from).collect()
}

fn entry<R: LocalResource>(spec: R, facts: R::Status) -> Entry<R> {
    Entry {
        stack: StackName::new("differential").expect("it is a label"),
        name: ResourceName::new("main").expect("it is a label"),
        spec,
        facts,
        ending: false,
    }
}
