//! Loopback ports: the way from this machine through the simulated internet to listeners and single instances.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use landfall_balancer::Forward;
use landfall_provider::{Error, ErrorKind, Result};

use crate::daemon::runtime::cloud::Cloud;

/// The range of ports that are chosen automatically: below the range of ephemeral client ports.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// An open loopback port; dropping it closes the port.
#[derive(Debug)]
pub(crate) struct Published {
    forwards: Vec<Forward>,
}

impl Published {
    /// Forwards new connections to these addresses.
    pub(in crate::daemon) fn set_nodes(&self, nodes: &[SocketAddr]) {
        for forward in &self.forwards {
            forward.set_nodes(nodes.iter().copied());
        }
    }
}

/// Opens a loopback port that forwards to these addresses: the given one, or a free one.
pub(in crate::daemon) fn open(
    cloud: &Cloud,
    wanted: Option<u16>,
    stack: &str,
    nodes: &[SocketAddr],
) -> Result<(u16, Published)> {
    let (port, sockets) = match wanted {
        Some(port) => (
            port,
            bind(cloud, port).map_err(|error| taken(port, &error))?,
        ),
        None => first_free(cloud, stack)?,
    };
    let forwards = sockets
        .into_iter()
        .map(|socket| cloud.forwarder.forward(socket, nodes.iter().copied()));
    let forwards = forwards.collect::<std::io::Result<_>>().map_err(|error| {
        Error::new(
            ErrorKind::Other,
            format_args!("the loopback port {port} cannot be served"),
        )
        .caused_by(error)
    })?;
    Ok((port, Published { forwards }))
}

/// A free port. The search starts at a hash of the stack's name, so that a stack keeps its port.
fn first_free(cloud: &Cloud, stack: &str) -> Result<(u16, Vec<TcpListener>)> {
    let count = PORTS.end - PORTS.start;
    // FNV-1a: any hash that is the same in every run is enough.
    let hash = stack.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let first = u16::try_from(hash % u32::from(count)).unwrap_or(0);
    for step in 0..count {
        let port = PORTS.start + (first + step) % count;
        if let Ok(sockets) = bind(cloud, port) {
            return Ok((port, sockets));
        }
    }
    Err(Error::new(
        ErrorKind::Limit,
        format_args!(
            "no loopback port from {} to {} is free",
            PORTS.start, PORTS.end
        ),
    ))
}

/// Binds a port on both loopback addresses: a name under `.localhost` may resolve to either.
fn bind(cloud: &Cloud, port: u16) -> std::io::Result<Vec<TcpListener>> {
    let mut sockets = vec![
        cloud
            .outer
            .bind_loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?,
    ];
    match cloud
        .outer
        .bind_loopback(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))
    {
        Ok(socket) => sockets.push(socket),
        // If another program uses the port on one address, it is taken on both.
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(error),
        // A machine without IPv6.
        Err(_) => {}
    }
    Ok(sockets)
}

fn taken(port: u16, error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        format_args!("the loopback port {port} cannot be opened: {error}"),
    )
    .hint("choose another `port` in [local], or remove the key to use a free port")
}
