//! Sends many packets at once and tells how far each one got.
//!
//! Every probe has a source port (or echo identifier) that no other has and that no translation
//! changes, so a packet is recognised wherever it is seen. In the namespace that a probe is for, a
//! socket taps what comes in: whether a packet arrived and whether its answer came back are two facts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdUdpSocket};
use std::time::Duration;

use landfall_network::Protocol;
use landfall_provider::NatGatewayId;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use landfall_kernel::netns::Namespace;
use landfall_vnet::{Fabric, InterfaceId};

/// How far a probe got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// It was seen where it was to go.
    pub(super) arrived: bool,
    /// The answer was seen at the NAT gateway on its way, before that gives it on.
    pub(super) translated: bool,
    /// The answer came back; a refusal is one.
    pub(super) answered: bool,
}

/// Where packets are sent from and seen to arrive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PacketEndpoint {
    /// The internet, with all its hosts and the services behind endpoints.
    Internet,
    /// An interface's own namespace.
    Interface(InterfaceId),
    /// A NAT gateway's.
    NatGateway(NatGatewayId),
}

/// One attempt.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) from: PacketEndpoint,
    /// The address to send from, where there are several.
    pub(super) source: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    /// Where it should arrive, and the address that it has got by then; none where nobody is.
    pub(super) arrives: Option<(PacketEndpoint, Ipv4Addr)>,
    /// The NAT gateway at which to look for the answer, and its address in the VPC.
    pub(super) through: Option<(NatGatewayId, Ipv4Addr)>,
    pub(super) protocol: Protocol,
    /// Ignored for ICMP.
    pub(super) port: u16,
    /// Unlike that of any other probe; for ICMP the kernel chooses an identifier instead.
    pub(super) source_port: u16,
    /// Whether a TCP server listens; none is an answer too.
    pub(super) served: bool,
}

/// What Ethernet calls IPv4.
const ETHERTYPE_IPV4: u16 = 0x0800;

/// Protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What makes a packet this probe's: where it is seen, protocol, destination, its two ports.
type Mark = (PacketEndpoint, u8, Ipv4Addr, u16, u16);

/// What happened to a probe.
enum Event {
    Packet(Mark),
    Answer(usize),
}

/// What a packet with a mark says about a probe.
#[derive(Debug, Clone, Copy)]
enum Sighting {
    Arrival,
    Translation,
}

/// A socket of a probe that has not been used yet.
enum Prepared {
    Tcp(TcpSocket),
    Datagram(StdUdpSocket),
}

/// Sends all probes, and waits until nothing has happened for `quiet`.
pub(super) fn send(fabric: &Fabric, probes: &[Probe], quiet: Duration) -> Vec<Fate> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(exchange(fabric, probes, quiet))
}

async fn exchange(fabric: &Fabric, probes: &[Probe], quiet: Duration) -> Vec<Fate> {
    let (events, mut happened) = unbounded_channel();
    let mut tasks = JoinSet::new();
    let _listeners = serve(fabric, probes, &events, &mut tasks);
    let mut sockets = prepare(fabric, probes);
    let mut marks = BTreeMap::new();
    for (index, probe) in probes.iter().enumerate() {
        let socket = sockets.remove(&index).expect("one for each probe");
        let id = match &socket {
            Prepared::Datagram(socket) => socket.local_addr().unwrap().port(),
            Prepared::Tcp(_) => probe.source_port,
        };
        if let Some((place, address)) = &probe.arrives {
            let mark = (place.clone(), number(probe), *address, id, asked(probe));
            let other = marks.insert(mark, (index, Sighting::Arrival));
            assert!(other.is_none(), "two probes look alike");
        }
        if let Some((gateway, address)) = &probe.through {
            let place = PacketEndpoint::NatGateway(gateway.clone());
            let mark = (place, number(probe), *address, asked(probe), id);
            marks.insert(mark, (index, Sighting::Translation));
        }
        let (to, events) = (probe.to, events.clone());
        let port = probe.port;
        tasks.spawn(async move {
            if attempt(socket, to, port).await {
                // Nobody listens any more once everything is known.
                let _ = events.send(Event::Answer(index));
            }
        });
    }
    drop(events);
    let mut fates = vec![Fate::default(); probes.len()];
    while let Ok(Some(event)) = tokio::time::timeout(quiet, happened.recv()).await {
        match event {
            Event::Answer(index) => fates[index].answered = true,
            Event::Packet(mark) => match marks.get(&mark) {
                Some((index, Sighting::Arrival)) => fates[*index].arrived = true,
                Some((index, Sighting::Translation)) => fates[*index].translated = true,
                None => {}
            },
        }
    }
    fates
}

/// Sends, and says whether an answer came.
async fn attempt(socket: Prepared, to: Ipv4Addr, port: u16) -> bool {
    match socket {
        Prepared::Tcp(socket) => match socket.connect((to, port).into()).await {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        },
        Prepared::Datagram(socket) => {
            let socket = UdpSocket::from_std(socket).unwrap();
            // An echo request; for UDP it is no worse than any other payload.
            let request = [8, 0, 0, 0, 0, 0, 0, 1];
            socket.send(&request).await.is_ok() && socket.recv(&mut [0; 64]).await.is_ok()
        }
    }
}

/// Opens the sockets of all probes, each in the namespace that it sends from.
fn prepare(fabric: &Fabric, probes: &[Probe]) -> BTreeMap<usize, Prepared> {
    let places: BTreeSet<&PacketEndpoint> = probes.iter().map(|probe| &probe.from).collect();
    let mut sockets = BTreeMap::new();
    for place in places {
        let open = || {
            std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
            let here = probes.iter().enumerate();
            here.filter(|(_, probe)| probe.from == *place)
                .map(|(index, probe)| (index, open(probe)))
                .collect::<Vec<_>>()
        };
        sockets.extend(namespace(fabric, place).enter(open).unwrap());
    }
    sockets
}

fn open(probe: &Probe) -> Prepared {
    let from = SocketAddrV4::new(probe.source, probe.source_port);
    let socket = match probe.protocol {
        Protocol::Tcp => {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(from.into()).unwrap();
            return Prepared::Tcp(socket);
        }
        Protocol::Udp => StdUdpSocket::bind(from).unwrap(),
        Protocol::Icmp => {
            let protocol = socket2::Protocol::ICMPV4;
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(protocol)).unwrap();
            let from = SocketAddrV4::new(probe.source, 0);
            socket.bind(&from.into()).unwrap();
            socket.into()
        }
        Protocol::All => panic!("a probe has one protocol"),
    };
    socket.set_nonblocking(true).unwrap();
    // Where there is no route at all, sending says so again.
    let _ = socket.connect((probe.to, probe.port));
    Prepared::Datagram(socket)
}

/// Listens and taps wherever probes are to arrive.
fn serve(
    fabric: &Fabric,
    probes: &[Probe],
    events: &UnboundedSender<Event>,
    tasks: &mut JoinSet<()>,
) -> Vec<TcpListener> {
    let mut listening = Vec::new();
    let arrivals = probes.iter().filter_map(|probe| probe.arrives.as_ref());
    let mut places: BTreeSet<PacketEndpoint> = arrivals.map(|(place, _)| place.clone()).collect();
    let gateways = probes.iter().filter_map(|probe| probe.through.as_ref());
    places.extend(gateways.map(|(gateway, _)| PacketEndpoint::NatGateway(gateway.clone())));
    for place in &places {
        let wanted: BTreeSet<(u8, Ipv4Addr, u16)> = probes
            .iter()
            .filter(|probe| probe.protocol != Protocol::Tcp || probe.served)
            .filter_map(|probe| match &probe.arrives {
                Some((there, address)) if there == place => {
                    Some((number(probe), *address, probe.port))
                }
                _ => None,
            })
            .collect();
        let open = || {
            let (mut streams, mut datagrams) = (Vec::new(), Vec::new());
            for (protocol, address, port) in wanted {
                match protocol {
                    TCP => streams.push(std::net::TcpListener::bind((address, port)).unwrap()),
                    UDP => datagrams.push(StdUdpSocket::bind((address, port)).unwrap()),
                    _ => {}
                }
            }
            (tap(), streams, datagrams)
        };
        let (tap, streams, datagrams) = namespace(fabric, place).enter(open).unwrap();
        for stream in streams {
            // The kernel shakes hands without anybody accepting.
            stream.set_nonblocking(true).unwrap();
            listening.push(TcpListener::from_std(stream).unwrap());
        }
        for socket in datagrams {
            tasks.spawn(echo(socket));
        }
        tasks.spawn(report(tap, place.clone(), events.clone()));
    }
    listening
}

async fn echo(socket: StdUdpSocket) {
    socket.set_nonblocking(true).unwrap();
    let socket = UdpSocket::from_std(socket).unwrap();
    let mut buffer = [0; 64];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let _ = socket.send_to(&buffer[..length], peer).await;
    }
}

/// A socket that gets every IPv4 packet that comes into the namespace.
fn tap() -> StdUdpSocket {
    let protocol = socket2::Protocol::from(i32::from(ETHERTYPE_IPV4.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

async fn report(tap: StdUdpSocket, place: PacketEndpoint, events: UnboundedSender<Event>) {
    let tap = UdpSocket::from_std(tap).unwrap();
    let mut packet = [0; 128];
    while let Ok(length) = tap.recv(&mut packet).await {
        if let Some((protocol, to, source, asked)) = read(&packet[..length])
            && events
                .send(Event::Packet((place.clone(), protocol, to, source, asked)))
                .is_err()
        {
            return;
        }
    }
}

/// Protocol, destination, source port and destination port of an IPv4 packet; of an echo request,
/// its identifier and 0.
fn read(packet: &[u8]) -> Option<(u8, Ipv4Addr, u16, u16)> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let protocol = *packet.get(9)?;
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let above = packet.get(header..header + 8)?;
    let word = |at: usize| u16::from_be_bytes([above[at], above[at + 1]]);
    match protocol {
        TCP | UDP => Some((protocol, to.into(), word(0), word(2))),
        ICMP if above[0] == 8 => Some((protocol, to.into(), word(4), 0)),
        _ => None,
    }
}

fn namespace<'a>(fabric: &'a Fabric, place: &PacketEndpoint) -> &'a Namespace {
    match place {
        PacketEndpoint::Internet => fabric.internet(),
        PacketEndpoint::Interface(id) => fabric.namespace(id).unwrap(),
        PacketEndpoint::NatGateway(id) => fabric.nat_gateway(id).unwrap(),
    }
}

fn number(probe: &Probe) -> u8 {
    match probe.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Icmp | Protocol::All => ICMP,
    }
}

/// The port that a probe asks for, 0 for protocols without.
fn asked(probe: &Probe) -> u16 {
    match probe.protocol {
        Protocol::Tcp | Protocol::Udp => probe.port,
        Protocol::Icmp | Protocol::All => 0,
    }
}
