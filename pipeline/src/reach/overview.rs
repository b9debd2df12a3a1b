//! The overview: which endpoint reaches which, as a table. The instances of a service share a row if
//! their connections are equal.

use landfall_network::reach::{End, EndpointGroup, Matrix, Role, Topology, matrix};
use landfall_network::{PortRange, Protocol};
use serde::Serialize;

use super::spot::word;

/// The overview of all connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// The endpoints: `internet`, `balancer`, `web` or, if instances differ, `web/1`.
    pub parties: Vec<String>,
    /// The indices of endpoints that open connections: services of the provider do not.
    pub sources: Vec<usize>,
    /// The allowed connections, by indices. All others are blocked.
    pub connections: Vec<Connections>,
}

/// The allowed connections between two endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// The source.
    pub from: usize,
    /// The destination; within a service, another instance.
    pub to: usize,
    /// The protocol.
    pub protocol: Protocol,
    /// The fully allowed ports.
    pub ports: Vec<PortRange>,
    /// The partly allowed ports: from some addresses, or to some targets.
    pub in_part: Vec<PortRange>,
}

impl Overview {
    /// The allowed connections by protocol.
    pub fn between(&self, from: usize, to: usize) -> impl Iterator<Item = &Connections> {
        let connections = self.connections.iter();
        connections.filter(move |it| (it.from, it.to) == (from, to))
    }
}

/// Traces every pair of a network's endpoints.
pub fn overview(topology: &Topology) -> Overview {
    let matrix = matrix(topology);
    let rows = rows(&matrix, topology);
    let mut connections = Vec::new();
    for (from, source) in rows.iter().enumerate() {
        for (to, target) in rows.iter().enumerate() {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
                let Some(cell) = matrix.cell(source.party, target.other(from == to), protocol)
                else {
                    continue;
                };
                connections.push(Connections {
                    from,
                    to,
                    protocol,
                    ports: cell.ports.clone(),
                    in_part: cell.in_part.clone(),
                });
            }
        }
    }
    let opens = |row: &&Row| !matches!(matrix.parties[row.party].end, End::Service(_));
    let sources = rows.iter().enumerate().filter(|(_, row)| opens(row));
    Overview {
        sources: sources.map(|(at, _)| at).collect(),
        parties: rows.into_iter().map(|row| row.name).collect(),
        connections,
    }
}

/// Endpoints in one row.
struct Row {
    name: String,
    /// The representative.
    party: usize,
    /// Another member, if there are several.
    second: Option<usize>,
}

impl Row {
    /// The destination: within a row, another member.
    fn other(&self, itself: bool) -> usize {
        match self.second {
            Some(second) if itself => second,
            _ => self.party,
        }
    }
}

fn rows(matrix: &Matrix, topology: &Topology) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut done = vec![false; matrix.parties.len()];
    for at in order(&matrix.parties, topology) {
        if done[at] {
            continue;
        }
        let service = service(&matrix.parties[at], topology);
        let of_service: Vec<usize> = (0..matrix.parties.len())
            .filter(|other| {
                service.is_some() && service == self::service(&matrix.parties[*other], topology)
            })
            .collect();
        let together =
            of_service.len() > 1 && of_service.iter().all(|other| alike(matrix, at, *other));
        if together {
            for other in &of_service {
                done[*other] = true;
            }
        }
        rows.push(Row {
            name: match &service {
                Some(service) if together || of_service.len() == 1 => service.clone(),
                _ if matrix.parties[at].members.len() > 1 => matrix.parties[at].members.join(", "),
                _ => word(&matrix.parties[at].end),
            },
            party: at,
            second: of_service
                .into_iter()
                .find(|other| together && *other != at),
        });
    }
    rows
}

/// In the order of a request: from the internet through the balancer to the instances; endpoints
/// outside the VPC come last.
fn order(parties: &[EndpointGroup], topology: &Topology) -> Vec<usize> {
    let rank = |party: &EndpointGroup| match &party.end {
        End::Balancer(_) => 1,
        End::Interface(_) if service(party, topology).is_some() => 3,
        End::Interface(_) => 2,
        End::NatGateway(_) | End::Service(_) => 4,
        _ => 0,
    };
    let mut order: Vec<usize> = (0..parties.len()).collect();
    order.sort_by_key(|at| rank(&parties[*at]));
    order
}

/// The common service of all members.
fn service(party: &EndpointGroup, topology: &Topology) -> Option<String> {
    match &party.end {
        End::Interface(name) => match &topology.interfaces.get(name)?.role {
            Role::Service(service) => Some(service.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether two endpoints have equal connections, including those to each other.
fn alike(matrix: &Matrix, a: usize, b: usize) -> bool {
    let same = |one: (usize, usize), other: (usize, usize)| {
        [Protocol::Tcp, Protocol::Udp, Protocol::Icmp]
            .iter()
            .all(|protocol| {
                let ports = |(from, to)| {
                    let cell = matrix.cell(from, to, *protocol);
                    cell.map(|cell| (&cell.ports, &cell.in_part))
                };
                ports(one) == ports(other)
            })
    };
    let mut others = (0..matrix.parties.len()).filter(|at| *at != a && *at != b);
    a == b
        || same((a, b), (b, a))
            && others.all(|other| same((a, other), (b, other)) && same((other, a), (other, b)))
}
