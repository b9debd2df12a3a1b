//! Packet sets: parts of a flow that are treated alike, as boxes of addresses and ports.

use crate::reach::ranges::Ranges;

/// The address that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressField {
    /// The source, which opens the connection.
    Source,
    /// The destination.
    Destination,
    /// The public addresses of the source after translation.
    Translated,
}

/// The port that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PortField {
    /// The destination ports of requests.
    Service,
    /// The source ports of the connection: the destination of answers.
    Source,
    /// The ports that a NAT gateway uses instead.
    Translated,
}

/// Every combination of these addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::reach) struct PacketSet {
    addresses: [Ranges; 3],
    ports: [Ranges; 3],
}

impl PacketSet {
    pub(super) fn new(
        source: Ranges,
        destination: Ranges,
        service: Ranges,
        source_ports: Ranges,
    ) -> Self {
        Self {
            addresses: [source, destination, Ranges::default()],
            ports: [service, source_ports, Ranges::default()],
        }
    }

    pub(super) fn addresses(&self, who: AddressField) -> &Ranges {
        &self.addresses[who as usize]
    }

    pub(super) fn ports(&self, which: PortField) -> &Ranges {
        &self.ports[which as usize]
    }

    /// The destination ports.
    pub(in crate::reach) fn service_ports(&self) -> &Ranges {
        self.ports(PortField::Service)
    }

    /// Replaces the addresses.
    pub(super) fn at(mut self, who: AddressField, addresses: Ranges) -> Self {
        self.addresses[who as usize] = addresses;
        self
    }

    /// Replaces the ports.
    pub(super) fn on_ports(mut self, which: PortField, ports: Ranges) -> Self {
        self.ports[which as usize] = ports;
        self
    }

    /// Splits into the part with these addresses and ports, and the rest.
    pub(super) fn split(
        self,
        who: AddressField,
        addresses: Option<&Ranges>,
        which: PortField,
        ports: Option<&Ranges>,
    ) -> (Option<Self>, Vec<Self>) {
        let mut outside = Vec::new();
        let mut inside = self;
        if let Some(addresses) = addresses {
            let current = inside.addresses(who);
            if !current.within(addresses) {
                let (same, other) = (current.and(addresses), current.without(addresses));
                if same.is_empty() {
                    return (None, vec![inside]);
                }
                outside.push(inside.clone().at(who, other));
                inside = inside.at(who, same);
            }
        }
        if let Some(ports) = ports {
            let current = inside.ports(which);
            if !current.within(ports) {
                let (same, other) = (current.and(ports), current.without(ports));
                outside.push(inside.clone().on_ports(which, other));
                if same.is_empty() {
                    return (None, outside);
                }
                inside = inside.on_ports(which, same);
            }
        }
        (Some(inside), outside)
    }
}

/// Merges sets that differ in one field only, so that they do not multiply along the path.
pub(super) fn merge(mut pieces: Vec<PacketSet>) -> Vec<PacketSet> {
    let mut at = 0;
    while at < pieces.len() {
        let mut other = at + 1;
        let mut grown = false;
        while other < pieces.len() {
            if let Some(both) = join(&pieces[at], &pieces[other]) {
                pieces[at] = both;
                pieces.swap_remove(other);
                grown = true;
            } else {
                other += 1;
            }
        }
        if !grown {
            at += 1;
        }
    }
    pieces
}

/// The union of both sets, if they differ in one field only.
fn join(a: &PacketSet, b: &PacketSet) -> Option<PacketSet> {
    let pairs = || {
        let addresses = a.addresses.iter().zip(&b.addresses);
        addresses.chain(a.ports.iter().zip(&b.ports))
    };
    if pairs().filter(|(a, b)| a != b).count() > 1 {
        return None;
    }
    let mut both = a.clone();
    let of_both = both.addresses.iter_mut().chain(&mut both.ports);
    for (one, (_, other)) in of_both.zip(pairs()) {
        if one != other {
            *one = one.or(other);
        }
    }
    Some(both)
}

/// All of these addresses.
pub(super) fn all_addresses(pieces: &[PacketSet], who: AddressField) -> Ranges {
    pieces
        .iter()
        .fold(Ranges::default(), |all, piece| all.or(piece.addresses(who)))
}

/// All of these ports.
pub(super) fn all_ports(pieces: &[PacketSet], which: PortField) -> Ranges {
    pieces
        .iter()
        .fold(Ranges::default(), |all, piece| all.or(piece.ports(which)))
}
