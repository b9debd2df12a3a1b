//! The time of a network's reachability matrix, by the size of the network. Prints one line of
//! JSON.
//!
//! `cargo xtask bench reach` runs it. Options: `--rounds=N`.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use landfall_network::reach::{
    Address, Balancer, Checked, Interface, Listener, Role, TargetGroup, Topology, assemble, check,
    invariants, matrix, stand_in,
};
use landfall_network::{
    AclEntry, Direction, NatMode, OpenPorts, Peer, PortRange, Protocol, SecurityRule, ServicePort,
    TwoTier, add_groups,
};
use landfall_provider::{Key, Port, ResourceName, Stack, StackName, Zone};
use serde::Serialize;

/// Zones, services, and rules of security groups at least.
const SIZES: &[(usize, usize, usize)] = &[
    (2, 1, 0),
    (2, 5, 50),
    (3, 10, 150),
    (3, 20, 300),
    (6, 25, 500),
    (6, 50, 1000),
];

/// The first service's port; each further one has the next.
const FIRST_PORT: u16 = 8000;

/// The measurements of one size.
#[derive(Serialize)]
struct Figures {
    zones: usize,
    services: usize,
    instances: usize,
    /// Rules of security groups and entries of network ACLs.
    rules: usize,
    /// Pairs of endpoint groups with any reachable port.
    cells: usize,
    /// Of each round.
    matrix_ms: Vec<f64>,
    expectations: usize,
    /// Of each round, for the invariants of a deployment.
    check_ms: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --all-targets` executes benches too; only `cargo bench` passes this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let rounds = std::env::args()
        .find_map(|option| option.strip_prefix("--rounds=").map(str::to_owned))
        .map_or(Ok(5), |rounds| rounds.parse())?;
    let mut all = Vec::new();
    for &(zones, services, rules) in SIZES {
        all.push(measure(
            &network(zones, services, rules)?,
            rounds,
            zones,
            services,
        )?);
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
}

fn measure(
    topology: &Topology,
    rounds: usize,
    zones: usize,
    services: usize,
) -> Result<Figures, Box<dyn Error>> {
    let operators = ["203.0.113.7/32".parse()?];
    let expectations = invariants(topology, &operators);
    let of_groups: usize = topology
        .security_groups
        .values()
        .map(|it| it.rules.len())
        .sum();
    let of_acls: usize = topology
        .network_acls
        .values()
        .map(|it| it.entries.len())
        .sum();
    let (mut matrix_ms, mut check_ms) = (Vec::new(), Vec::new());
    let mut cells = 0;
    for _ in 0..rounds {
        let begin = Instant::now();
        cells = black_box(matrix(black_box(topology))).cells.len();
        matrix_ms.push(begin.elapsed().as_secs_f64() * 1000.0);
        let begin = Instant::now();
        let checked = black_box(check(topology, &expectations));
        check_ms.push(begin.elapsed().as_secs_f64() * 1000.0);
        if checked != Checked::default() {
            return Err(format!("the network is not as it should be: {checked:?}").into());
        }
    }
    Ok(Figures {
        zones,
        services,
        instances: topology.interfaces.len() - zones - 1,
        rules: of_groups + of_acls,
        cells,
        matrix_ms,
        expectations: expectations.len(),
        check_ms,
    })
}

/// The blueprint with a service's instance in every zone, all with addresses, and additional rules
/// that allow neighbours by block, up to the number of rules.
fn network(zones: usize, services: usize, rules: usize) -> Result<Topology, Box<dyn Error>> {
    let port_of = |number: usize| Ok::<_, Box<dyn Error>>(FIRST_PORT + u16::try_from(number)?);
    let mut ports = Vec::new();
    for number in 0..services {
        ports.push(ServicePort {
            name: name(number)?,
            port: Port::new(port_of(number)?)?,
        });
    }
    let open_ports = OpenPorts {
        bastion_allow: Some(vec!["203.0.113.7/32".parse()?]),
        ..OpenPorts::new(vec![Port::new(80)?], ports)
    };
    let mut stack = Stack::new(StackName::new("bench")?);
    let letters = ["a", "b", "c", "d", "e", "f"];
    let mut zone_names = Vec::new();
    for letter in &letters[..zones] {
        zone_names.push(Zone::new(format!("ap-south-1{letter}"))?);
    }
    // Fifty ports exceed a network ACL: it gets one range for all of them, below.
    let of_acls = OpenPorts {
        services: open_ports.services[..1].to_vec(),
        ..open_ports.clone()
    };
    let network = TwoTier {
        cidr: "10.0.0.0/16".parse()?,
        zones: zone_names,
        nat: NatMode::PerZone,
        s3_endpoint: true,
        open_ports: of_acls,
    }
    .add_to(&mut stack)?;
    add_groups(&mut stack, &network.vpc.id(), &open_ports)?;
    let (mut topology, _) = assemble(&stack, stand_in)?;
    let last = port_of(services)?;
    let entries = topology
        .network_acls
        .values_mut()
        .flat_map(|acl| &mut acl.entries);
    for AclEntry { ports, .. } in entries.filter(|entry| entry.ports.to == FIRST_PORT) {
        ports.to = last;
    }
    let letters = &letters[..zones];
    let balancer: Key = "load-balancer/main".parse()?;
    let mut nodes = Balancer::default();
    for letter in letters {
        let node = stands_in(&format!("public-{letter}"), "balancer", 5, &topology)?;
        let node = Interface {
            public: Some(Address::Pending),
            role: Role::Node(balancer.clone()),
            ..node
        };
        nodes.nodes.insert(format!("main/{letter}"));
        topology.interfaces.insert(format!("main/{letter}"), node);
    }
    let mut forwards = BTreeMap::new();
    for number in 0..services {
        let service = name(number)?;
        let mut group = TargetGroup {
            port: port_of(number)?,
            health_port: port_of(number)?,
            ..TargetGroup::default()
        };
        for (zone, letter) in letters.iter().enumerate() {
            let subnet = format!("private-{letter}");
            let instance = Interface {
                role: Role::Service(service.clone()),
                ..stands_in(&subnet, service.as_str(), number + 10, &topology)?
            };
            let interface = format!("{service}/{}", zone + 1);
            group.targets.insert(interface.clone());
            topology.interfaces.insert(interface, instance);
        }
        let key: Key = format!("target-group/{service}").parse()?;
        forwards.insert(format!("listener-rule/{service}").parse()?, key.clone());
        topology.target_groups.insert(key, group);
    }
    let listener = Listener {
        port: 80,
        default: format!("target-group/{}", name(0)?).parse()?,
        rules: forwards,
    };
    nodes.listeners.insert("listener/http".parse()?, listener);
    topology.balancers.insert(balancer, nodes);
    let bastion = Interface {
        public: Some(Address::Pending),
        role: Role::Bastion,
        ..stands_in("public-a", "bastion", 6, &topology)?
    };
    topology.interfaces.insert("bastion".to_owned(), bastion);
    fill_up(&mut topology, services, rules)?;
    Ok(topology)
}

/// Rules for metrics from blocks of the VPC, a different one each time.
fn fill_up(topology: &mut Topology, services: usize, rules: usize) -> Result<(), Box<dyn Error>> {
    let current: usize = topology
        .security_groups
        .values()
        .map(|it| it.rules.len())
        .sum();
    for number in 0..rules.saturating_sub(current) {
        let group: Key = format!("security-group/{}", name(number % services)?).parse()?;
        let third = u8::try_from(number % 256)?;
        let port = 9100 + u16::try_from(number / services)?;
        let rule = SecurityRule {
            direction: Direction::Ingress,
            protocol: Protocol::Tcp,
            ports: PortRange {
                from: port,
                to: port,
            },
            peer: Peer::Cidr(format!("10.0.{third}.0/24").parse()?),
            description: "Metrics".to_owned(),
        };
        let group = topology.security_groups.get_mut(&group);
        group.ok_or("every service has a group")?.rules.push(rule);
    }
    Ok(())
}

fn stands_in(
    subnet: &str,
    group: &str,
    place: usize,
    topology: &Topology,
) -> Result<Interface, Box<dyn Error>> {
    let subnet: Key = format!("subnet/{subnet}").parse()?;
    let first = u32::from(topology.subnets[&subnet].cidr.network());
    Ok(Interface {
        address: Address::Known(Ipv4Addr::from(first + u32::try_from(place)?)),
        subnet,
        public: None,
        groups: [format!("security-group/{group}").parse()?].into(),
        role: Role::Other,
    })
}

fn name(number: usize) -> Result<ResourceName, Box<dyn Error>> {
    Ok(ResourceName::new(format!("service-{number}"))?)
}
