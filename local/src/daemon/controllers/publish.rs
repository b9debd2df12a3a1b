//! The way in from this machine: a loopback port for each listener, entering through the internet.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::sync::Arc;

use landfall_compute::Instance;
use landfall_lb::Listener;
use landfall_provider::{Error, ErrorKind, InstanceId, ListenerId, LoadBalancerId, Port, Result};

use super::{balance, single};
use crate::daemon::Cloud;
use crate::daemon::records::kinds::known;
use crate::daemon::records::state::State;
use crate::daemon::records::table::find;
use landfall_balancer::Forward;

/// Where ports are looked for that nobody asked for: below the range that clients connect from.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A loopback port that leads to a listener, as long as this is held.
#[derive(Debug)]
pub(crate) struct Published {
    forwards: Vec<Forward>,
}

/// Opens the loopback port of a listener.
pub(in crate::daemon) fn publish(cloud: &Arc<Cloud>, id: &ListenerId) -> Result<()> {
    let (wanted, stack, nodes) = {
        let inner = cloud.lock();
        let entry = find::<Listener>(&inner.state, id)?;
        let nodes = nodes(&inner.state, known(&entry.spec.balancer)?, entry.spec.port);
        (entry.facts.wanted_port, entry.stack.clone(), nodes)
    };
    let (port, opened) = open(cloud, wanted, stack.as_str(), &nodes)?;
    let mut inner = cloud.lock();
    inner.published.insert(id.clone(), opened);
    if let Some(entry) = inner.state.tables.listeners.get_mut(id) {
        entry.facts.published_port = Some(port);
    }
    drop(inner);
    cloud.tell();
    Ok(())
}

/// Opens a loopback port that leads to an instance whose container clients ask themselves; one without a public
/// address has none.
pub(in crate::daemon) fn publish_instance(cloud: &Arc<Cloud>, id: &InstanceId) -> Result<()> {
    let (wanted, stack, entrance) = {
        let inner = cloud.lock();
        let entry = find::<Instance>(&inner.state, id)?;
        let Some(entrance) = single::entrance(&inner.state, id) else {
            return Ok(());
        };
        (entry.facts.wanted_port, entry.stack.clone(), entrance)
    };
    let (port, opened) = open(cloud, wanted, stack.as_str(), &[entrance])?;
    let mut inner = cloud.lock();
    inner.entrances.insert(id.clone(), opened);
    if let Some(entry) = inner.state.tables.instances.get_mut(id) {
        entry.facts.published_port = Some(port);
    }
    drop(inner);
    cloud.tell();
    Ok(())
}

/// Opens a loopback port, the one that is wanted if there is one, that leads to these.
fn open(
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

/// Leads the loopback ports of a balancer's listeners to where its nodes are by now.
pub(in crate::daemon) fn follow(cloud: &Cloud, balancer: &LoadBalancerId) {
    let inner = cloud.lock();
    for (id, published) in &inner.published {
        let Some(entry) = inner.state.tables.listeners.get(id) else {
            continue;
        };
        if entry.spec.balancer.known() == Some(balancer) {
            let nodes = nodes(&inner.state, balancer, entry.spec.port);
            for forward in &published.forwards {
                forward.set_nodes(nodes.iter().copied());
            }
        }
    }
}

/// Where the internet reaches a listener.
fn nodes(state: &State, balancer: &LoadBalancerId, port: Port) -> Vec<SocketAddr> {
    let addresses = balance::public_addresses(state, balancer).into_iter();
    addresses
        .map(|address| SocketAddrV4::new(address, port.get()).into())
        .collect()
}

/// Closes the loopback port of a listener.
pub(in crate::daemon) fn withdraw(cloud: &Cloud, id: &ListenerId) {
    drop(cloud.lock().published.remove(id));
}

/// Closes the loopback port of an instance.
pub(in crate::daemon) fn withdraw_instance(cloud: &Cloud, id: &InstanceId) {
    drop(cloud.lock().entrances.remove(id));
}

/// The same stack gets the same port whenever it can, so that its address stays.
fn first_free(cloud: &Cloud, stack: &str) -> Result<(u16, Vec<TcpListener>)> {
    let count = PORTS.end - PORTS.start;
    // FNV-1a: any hash that stays the same from run to run will do.
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

/// Binds a port on both loopback addresses, for a name under `.localhost` may stand for either.
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
        // Somebody else's port is not ours on either address.
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
