//! The TCP ports on which an instance listens, from the kernel's table of its network.

use std::collections::BTreeSet;
use std::path::Path;

/// The state of a listening socket in the kernel's table.
const LISTEN: &str = "0A";

/// The listening ports in the network of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// On any address, or on one that other hosts can reach.
    pub open: BTreeSet<u16>,
    /// Only on loopback addresses.
    pub loopback: BTreeSet<u16>,
}

/// Reads the table; `None` if the process is gone or not readable.
pub fn listening(pid: i32) -> Option<Listening> {
    let read = |table: &str| {
        std::fs::read_to_string(
            Path::new("/proc")
                .join(pid.to_string())
                .join("net")
                .join(table),
        )
    };
    let mut listening = parse(&read("tcp").ok()?);
    // A machine without IPv6 has no such table.
    let six = parse(&read("tcp6").unwrap_or_default());
    listening.open.extend(six.open);
    listening.loopback.extend(six.loopback);
    let open = listening.open.clone();
    listening.loopback.retain(|port| !open.contains(port));
    Some(listening)
}

/// Lines such as `0: 0100007F:1F40 00000000:0000 0A …`: addresses in the processor's byte order, ports in plain hex.
fn parse(table: &str) -> Listening {
    let mut listening = Listening::default();
    for line in table.lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(LISTEN)) = (fields.next(), fields.nth(1)) else {
            continue;
        };
        let Some((address, port)) = local.split_once(':') else {
            continue;
        };
        let Ok(port) = u16::from_str_radix(port, 16) else {
            continue;
        };
        if is_loopback(address) {
            listening.loopback.insert(port);
        } else {
            listening.open.insert(port);
        }
    }
    listening
}

/// 127.0.0.0/8, `::1`, and IPv4 loopback addresses in the form of IPv6.
fn is_loopback(address: &str) -> bool {
    let words: Vec<u32> = (0..address.len() / 8)
        .filter_map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok())
        .map(|word| u32::from_be_bytes(word.to_ne_bytes()))
        .collect();
    match words[..] {
        [four] | [0, 0, 0xffff, four] => four >> 24 == 127,
        [0, 0, 0, last] => last == 1,
        _ => false,
    }
}

/// The sentence for a client that expects a service on a port: `the service listens on port 9000`.
pub fn instead(listening: &Listening, port: u16) -> Option<String> {
    let Listening { open, loopback } = listening;
    if open.contains(&port) {
        return None;
    }
    if loopback.contains(&port) {
        return Some(format!("the service listens on 127.0.0.1:{port} only"));
    }
    let others: Vec<String> = open.union(loopback).map(u16::to_string).collect();
    Some(match others.as_slice() {
        [] => "the service listens on no port".to_owned(),
        [other] => format!("the service listens on port {other}"),
        _ => format!("the service listens on ports {}", others.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n";

    fn row(address: &str, state: &str) -> String {
        format!("   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000\n")
    }

    #[test]
    fn the_kernels_table_is_read() {
        // In the form of a little-endian machine; a big-endian one has the bytes of an address in reverse order.
        let loopback = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
        let table = [
            HEAD.to_owned(),
            row("00000000:1F40", LISTEN),
            row(&format!("{loopback}:2328"), LISTEN),
            row("00000000:0016", "01"),
        ];
        let listening = parse(&table.concat());
        assert_eq!(listening.open, [8000].into());
        assert_eq!(listening.loopback, [9000].into());
        let six = parse(&format!(
            "{HEAD}{}",
            row("00000000000000000000000000000000:1F41", LISTEN)
        ));
        assert_eq!(six.open, [8001].into());
    }

    #[test]
    fn a_service_on_another_port_is_reported() {
        let on = |open: &[u16], loopback: &[u16]| Listening {
            open: open.iter().copied().collect(),
            loopback: loopback.iter().copied().collect(),
        };
        assert_eq!(instead(&on(&[8000], &[]), 8000), None);
        for (listening, reported) in [
            (on(&[], &[]), "the service listens on no port"),
            (on(&[9000], &[]), "the service listens on port 9000"),
            (
                on(&[9000], &[9001]),
                "the service listens on ports 9000, 9001",
            ),
            (
                on(&[], &[8000]),
                "the service listens on 127.0.0.1:8000 only",
            ),
        ] {
            assert_eq!(instead(&listening, 8000).as_deref(), Some(reported));
        }
    }

    #[test]
    fn a_process_of_ones_own_can_be_looked_at() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(listening(me).unwrap().loopback.contains(&port));
        assert_eq!(listening(i32::MAX), None);
    }
}
