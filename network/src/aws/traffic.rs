//! Protocols and port ranges in AWS's two notations: that of security groups and that of network
//! ACLs.

use crate::traffic::{PortRange, Protocol};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html>
pub(super) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
        Protocol::All => "-1",
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_NetworkAclEntry.html>
pub(super) fn protocol_number(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "6",
        Protocol::Udp => "17",
        Protocol::Icmp => "1",
        Protocol::All => "-1",
    }
}

/// Reads either notation; `None` for a protocol that no spec can express.
pub(super) fn protocol(text: &str) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::All]
        .into_iter()
        .find(|&protocol| text == protocol_name(protocol) || text == protocol_number(protocol))
}

pub(super) fn has_ports(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

/// The ports of a rule or an entry in a spec's form: all ports where AWS has none.
pub(super) fn ports(protocol: Protocol, from: Option<i32>, to: Option<i32>) -> PortRange {
    if !has_ports(protocol) {
        return PortRange::ALL;
    }
    let port = |number: Option<i32>, otherwise| {
        number
            .and_then(|number| u16::try_from(number).ok())
            .unwrap_or(otherwise)
    };
    PortRange {
        from: port(from, PortRange::ALL.from),
        to: port(to, PortRange::ALL.to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_protocol_read_back() {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::All] {
            assert_eq!(super::protocol(protocol_name(protocol)), Some(protocol));
            assert_eq!(super::protocol(protocol_number(protocol)), Some(protocol));
        }
        assert_eq!(super::protocol("58"), None);
    }

    #[test]
    fn what_has_no_ports_has_all_of_them() {
        assert_eq!(ports(Protocol::Icmp, Some(-1), Some(-1)), PortRange::ALL);
        assert_eq!(ports(Protocol::Tcp, None, None), PortRange::ALL);
        assert_eq!(
            ports(Protocol::Udp, Some(53), Some(53)),
            PortRange { from: 53, to: 53 }
        );
    }
}
