//! The matrix agrees with single traces.

use proptest::prelude::*;

use super::random::topology;
use super::support::{balancer, interface, two_tier};
use crate::reach::{End, Flow, Matrix, Reach, matrix, trace};
use crate::{EndpointService, NatMode, PortRange, Protocol};

fn place(matrix: &Matrix, end: &End) -> usize {
    let mut parties = matrix.parties.iter();
    parties.position(|party| party.end == *end).unwrap()
}

fn ports(matrix: &Matrix, from: &End, to: &End) -> String {
    let cell = matrix.cell(place(matrix, from), place(matrix, to), Protocol::Tcp);
    let ports = cell.into_iter().flat_map(|cell| &cell.ports);
    let ports: Vec<String> = ports.map(ToString::to_string).collect();
    ports.join(" ")
}

#[test]
fn the_matrix_of_the_blueprint() {
    let matrix = matrix(&two_tier(NatMode::PerZone));
    let names: Vec<String> = matrix.parties.iter().map(|it| it.end.to_string()).collect();
    assert_eq!(
        names,
        [
            "internet",
            "s3",
            "load-balancer/main",
            "api/1",
            "api/2",
            "bastion",
            "web/1",
            "web/2"
        ]
    );
    let s3 = End::Service(EndpointService::S3);
    for (from, to, expected) in [
        (End::Internet, balancer(), "80"),
        (End::Internet, interface("web/1"), ""),
        (balancer(), interface("web/1"), "8000"),
        (balancer(), interface("api/2"), "9000"),
        (interface("bastion"), interface("web/2"), "22"),
        (interface("web/1"), End::Internet, "80 443"),
        (interface("web/1"), s3, "80 443"),
        (interface("web/1"), interface("web/2"), ""),
        (interface("web/1"), balancer(), "80"),
        (interface("web/1"), interface("api/1"), ""),
    ] {
        assert_eq!(ports(&matrix, &from, &to), expected, "{from} → {to}");
    }
    // One address on the internet may log in to the bastion.
    let (internet, bastion) = (
        place(&matrix, &End::Internet),
        place(&matrix, &interface("bastion")),
    );
    let cell = matrix.cell(internet, bastion, Protocol::Tcp).unwrap();
    assert_eq!(cell.ports, []);
    assert_eq!(cell.in_part, [PortRange { from: 22, to: 22 }]);
}

#[test]
fn instances_that_no_rule_tells_apart_are_one_party() {
    let mut topology = two_tier(NatMode::PerZone);
    let one = topology.interfaces["web/1"].clone();
    topology.interfaces.insert("web/3".to_owned(), one);
    let group: landfall_provider::Key = "target-group/web".parse().unwrap();
    let targets = &mut topology.target_groups.get_mut(&group).unwrap().targets;
    targets.insert("web/3".to_owned());
    let matrix = matrix(&topology);
    let party = &matrix.parties[place(&matrix, &interface("web/1"))];
    assert_eq!(party.members, ["web/1", "web/3"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_cell_is_what_a_trace_says(topology in topology()) {
        let matrix = matrix(&topology);
        for (from, source) in matrix.parties.iter().enumerate() {
            for (to, target) in matrix.parties.iter().enumerate() {
                let asked = matches!(
                    (&source.end, &target.end),
                    (End::Interface(_) | End::Internet, End::Interface(_) | End::Balancer(_))
                        | (End::Interface(_), End::Internet | End::Service(_))
                        | (End::Balancer(_), End::Interface(_))
                );
                if from == to || !asked {
                    continue;
                }
                for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
                    for port in [22, 80, 443, 444, 8000, 40000, 65535] {
                        let flow = Flow {
                            protocol,
                            ..Flow::tcp(source.end.clone(), target.end.clone(), port)
                        };
                        let cell = matrix.cell(from, to, protocol);
                        let has = |ports: &Vec<PortRange>| ports.iter().any(|it| it.contains(port));
                        let reach = match cell {
                            Some(cell) if has(&cell.ports) => Reach::All,
                            Some(cell) if has(&cell.in_part) => Reach::Part,
                            _ => Reach::Nothing,
                        };
                        prop_assert_eq!(reach, trace(&topology, &flow).unwrap().reach, "{}", flow);
                    }
                }
            }
        }
    }
}
