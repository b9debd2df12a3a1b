//! Servers and clients in namespaces, and what came of a packet.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::address;
use landfall_kernel::netns::Namespace;

/// How long a packet that nobody answers is waited for.
const WAIT_TIMEOUT: Duration = Duration::from_millis(300);

/// How long an answer that must come may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);

/// A TCP server that tells each client the address that it sees, until the process ends.
pub(in crate::tests) fn serve(namespace: &Namespace, port: u16) {
    serve_at(namespace, Ipv4Addr::UNSPECIFIED, port);
}

/// The same at one address.
pub(in crate::tests) fn serve_at(namespace: &Namespace, at: Ipv4Addr, port: u16) {
    let listener = namespace
        .enter(|| TcpListener::bind((at, port)))
        .unwrap()
        .unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            // A client that has gone away meanwhile is not the server's concern.
            let _ = stream.write_all(peer.to_string().as_bytes());
        }
    });
}

/// What came of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tests) enum Outcome {
    /// A server answered, and saw this source address.
    Seen(Ipv4Addr),
    /// There was a host, and no server.
    Refused,
    /// Nothing came back.
    Silence,
}

/// Connects over TCP and reads what the server says.
pub(in crate::tests) fn connect(namespace: &Namespace, to: Ipv4Addr, port: u16) -> Outcome {
    let to = SocketAddr::from((to, port));
    namespace
        .enter(|| match TcpStream::connect_timeout(&to, WAIT_TIMEOUT) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                Outcome::Seen(address(&text))
            }
            Err(error) => outcome(&error),
        })
        .unwrap()
}

/// The same with a source address.
pub(in crate::tests) fn connect_from(
    namespace: &Namespace,
    from: Ipv4Addr,
    to: Ipv4Addr,
    port: u16,
) -> Outcome {
    let attempt = async || -> io::Result<TcpStream> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream =
            tokio::time::timeout(WAIT_TIMEOUT, socket.connect((to, port).into())).await??;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    };
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(attempt())
    };
    match namespace.enter(runtime).unwrap() {
        Ok(mut stream) => {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            Outcome::Seen(address(&text))
        }
        Err(error) => outcome(&error),
    }
}

/// Both ends of an open connection.
pub(in crate::tests) struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    pub(in crate::tests) fn open(
        from: &Namespace,
        to: &Namespace,
        at: Ipv4Addr,
        port: u16,
    ) -> Self {
        let listener = to
            .enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .unwrap()
            .unwrap();
        let target = SocketAddr::from((at, port));
        let client = from
            .enter(|| TcpStream::connect_timeout(&target, DEADLINE))
            .unwrap()
            .unwrap();
        let (server, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(2 * WAIT_TIMEOUT)).unwrap();
        server.set_read_timeout(Some(2 * WAIT_TIMEOUT)).unwrap();
        Self { client, server }
    }

    /// Whether a byte gets through in each direction.
    pub(in crate::tests) fn passes(&mut self) -> bool {
        let mut byte = [0];
        self.client.write_all(b"?").unwrap();
        if self.server.read_exact(&mut byte).is_err() {
            return false;
        }
        self.server.write_all(b"!").unwrap();
        self.client.read_exact(&mut byte).is_ok()
    }
}

/// The names of a namespace's links, sorted.
pub(in crate::tests) fn links(namespace: &Namespace) -> Vec<String> {
    let text = namespace
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
        .unwrap();
    let mut names: Vec<String> = text
        .unwrap()
        .lines()
        .skip(2)
        .map(|line| line.split(':').next().unwrap().trim().to_owned())
        .collect();
    names.sort_unstable();
    names
}

/// Those of the ports from which something came back, all asked at once.
pub(in crate::tests) fn answering(from: &Namespace, to: &str, ports: &[u16]) -> Vec<u16> {
    let to = address(to);
    thread::scope(|scope| {
        let attempts: Vec<_> = ports
            .iter()
            .map(|port| (*port, scope.spawn(move || connect(from, to, *port))))
            .collect();
        attempts
            .into_iter()
            .filter_map(|(port, attempt)| {
                (attempt.join().unwrap() != Outcome::Silence).then_some(port)
            })
            .collect()
    })
}

fn outcome(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::TimedOut
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable => Outcome::Silence,
        _ => panic!("connecting ended with {error}"),
    }
}

/// A UDP server that answers each datagram with the address it came from.
pub(in crate::tests) fn serve_udp(namespace: &Namespace, port: u16) {
    let socket = namespace
        .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
        .unwrap()
        .unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        loop {
            let (_, peer) = socket.recv_from(&mut buffer).unwrap();
            let answer = peer.ip().to_string();
            socket.send_to(answer.as_bytes(), peer).unwrap();
        }
    });
}

/// Sends a datagram and reads the answer.
pub(in crate::tests) fn ask_udp(namespace: &Namespace, to: Ipv4Addr, port: u16) -> Outcome {
    let socket = namespace
        .enter(|| UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))
        .unwrap()
        .unwrap();
    // Unlike a connection, an answer needs the server's thread to run.
    socket.set_read_timeout(Some(4 * WAIT_TIMEOUT)).unwrap();
    socket.connect((to, port)).unwrap();
    let mut buffer = [0; 64];
    match socket.send(b"?").and_then(|_| socket.recv(&mut buffer)) {
        Ok(length) => Outcome::Seen(address(std::str::from_utf8(&buffer[..length]).unwrap())),
        Err(error) => outcome(&error),
    }
}

/// Whether a host answers an ICMP echo request.
pub(in crate::tests) fn answers_ping(from: &Namespace, to: Ipv4Addr) -> bool {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let open = || {
        std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
        let kind = SockType::Datagram;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, kind, flags, SockProtocol::Icmp).unwrap();
        let socket = UdpSocket::from(socket);
        socket.connect((to, 0)).unwrap();
        socket
    };
    let socket = from.enter(open).unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    // Type 8, code 0; the kernel fills in the checksum and the identifier.
    let request = [8, 0, 0, 0, 0, 0, 0, 1];
    socket.send(&request).unwrap();
    socket.recv(&mut [0; 64]).is_ok()
}
