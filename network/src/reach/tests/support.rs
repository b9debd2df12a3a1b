//! A test network: the blueprint over two zones, with a balancer, two services and a bastion.

use std::collections::{BTreeMap, BTreeSet};

use landfall_provider::{Key, Port, ResourceName, Stack, StackName, Zone};

use crate::reach::{
    Address, Balancer, End, Flow, Interface, Listener, Role, TargetGroup, Topology, assemble,
    stand_in,
};
use crate::{NatMode, OpenPorts, ServicePort, TwoTier, add_groups};

pub(super) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(super) fn interface(name: &str) -> End {
    End::Interface(name.to_owned())
}

pub(super) fn balancer() -> End {
    End::Balancer(key("load-balancer/main"))
}

pub(super) fn tcp(from: End, to: End, port: u16) -> Flow {
    Flow::tcp(from, to, port)
}

/// The network of a stack, as the pipeline creates it, before any resource has an address.
pub(super) fn two_tier(nat: NatMode) -> Topology {
    let services = [("web", 8000), ("api", 9000)].map(|(name, port)| ServicePort {
        name: ResourceName::new(name).unwrap(),
        port: Port::new(port).unwrap(),
    });
    let open_ports = OpenPorts {
        bastion_allow: Some(vec!["203.0.113.7/32".parse().unwrap()]),
        ..OpenPorts::new(vec![Port::new(80).unwrap()], services.to_vec())
    };
    let mut stack = Stack::new(StackName::new("digipay").unwrap());
    let network = TwoTier {
        cidr: "10.0.0.0/16".parse().unwrap(),
        zones: ["a", "b"]
            .map(|letter| Zone::new(format!("ap-south-1{letter}")).unwrap())
            .to_vec(),
        nat,
        s3_endpoint: true,
        open_ports: open_ports.clone(),
    }
    .add_to(&mut stack)
    .unwrap();
    add_groups(&mut stack, &network.vpc.id(), &open_ports).unwrap();
    let (mut topology, _) = assemble(&stack, stand_in).unwrap();

    let mut nodes = BTreeSet::new();
    for letter in ["a", "b"] {
        let name = format!("main/{letter}");
        let node = Interface {
            subnet: key(&format!("subnet/public-{letter}")),
            address: Address::Pending,
            public: Some(Address::Pending),
            groups: [key("security-group/balancer")].into(),
            role: Role::Node(key("load-balancer/main")),
        };
        topology.interfaces.insert(name.clone(), node);
        nodes.insert(name);
        for (service, port) in [("web", 8000), ("api", 9000)] {
            let number = if letter == "a" { 1 } else { 2 };
            let name = format!("{service}/{number}");
            let instance = Interface {
                subnet: key(&format!("subnet/private-{letter}")),
                address: Address::Pending,
                public: None,
                groups: [key(&format!("security-group/{service}"))].into(),
                role: Role::Service(ResourceName::new(service).unwrap()),
            };
            topology.interfaces.insert(name.clone(), instance);
            let group = topology
                .target_groups
                .entry(key(&format!("target-group/{service}")))
                .or_default();
            *group = TargetGroup {
                port,
                health_port: port,
                targets: std::mem::take(&mut group.targets),
            };
            group.targets.insert(name);
        }
    }
    let bastion = Interface {
        subnet: key("subnet/public-a"),
        address: Address::Pending,
        public: Some(Address::Pending),
        groups: [key("security-group/bastion")].into(),
        role: Role::Bastion,
    };
    topology.interfaces.insert("bastion".to_owned(), bastion);
    let listener = Listener {
        port: 80,
        default: key("target-group/web"),
        rules: BTreeMap::from([(key("listener-rule/api"), key("target-group/api"))]),
    };
    topology.balancers.insert(
        key("load-balancer/main"),
        Balancer {
            nodes,
            listeners: BTreeMap::from([(key("listener/http"), listener)]),
        },
    );
    topology
}
