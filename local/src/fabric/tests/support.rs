//! What the tests have in common: a process with namespaces of its own, topologies, servers, clients.
#![expect(
    unsafe_code,
    reason = "the test process enters its namespaces between fork and exec"
)]

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ipnet::Ipv4Net;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, write};

use crate::fabric::{
    AclEntry, GroupRule, Interface, NatGateway, Peer, Ports, RouteTable, SecurityGroup, Subnet,
    Target, Topology, Traffic, Vpc,
};
use crate::sys::netns::Namespace;

/// Set in the inner process to the name of the test that it runs.
const INNER: &str = "LANDFALL_FABRIC_TEST";

/// Runs a test body in a process that is root of new namespaces, whoever runs the tests.
///
/// `name` is the test's path without the crate. A failure inside fails the test with its output.
pub(super) fn isolated(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INNER).is_some_and(|inner| inner == name) {
        return body();
    }
    let user = geteuid();
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {} 1", getegid())),
    ]
    .map(|(path, text)| (CString::new(path).unwrap(), text));
    let enter = move || -> io::Result<()> {
        if user.is_root() {
            return Ok(unshare(CloneFlags::CLONE_NEWNET)?);
        }
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
        for (path, text) in &maps {
            let file = open(path.as_c_str(), OFlag::O_WRONLY, Mode::empty())?;
            write(&file, text.as_bytes())?;
        }
        Ok(())
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INNER, name);
    // SAFETY: between fork and exec the closure makes system calls only, on strings made before.
    unsafe {
        command.pre_exec(enter);
    }
    let output = command.output().expect("the test enters its namespaces");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside:\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "ran nothing: {stdout}");
    print!("{stdout}");
}

/// Names a test for [`isolated`] and runs its body there.
macro_rules! isolated_test {
    ($(#[$meta:meta])* fn $name:ident() $body:block) => {
        #[test]
        $(#[$meta])*
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let path = path.split_once("::").expect("a path has a crate").1;
            $crate::fabric::tests::support::isolated(path, || $body);
        }
    };
}
pub(super) use isolated_test;

/// How long a packet that nobody answers is waited for.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long an answer that must come may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn network(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

// === topologies ===

/// The host on the internet from which tests connect.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 250);

/// A topology with the internet's hosts, and nothing else.
pub(super) fn internet() -> Topology {
    Topology {
        internet_hosts: [CLIENT, Ipv4Addr::new(203, 0, 113, 251)].into(),
        ..Topology::default()
    }
}

/// Adds a VPC with an internet gateway and one public subnet `subnet-<suffix>`, 10.0.0.0/24.
pub(super) fn add_public_vpc(topology: &mut Topology, suffix: &str) {
    let vpc = format!("vpc-{suffix}");
    topology.vpcs.insert(
        vpc.as_str().into(),
        Vpc {
            cidr: network("10.0.0.0/16"),
            internet_gateway: true,
        },
    );
    let table = format!("rtb-{suffix}");
    topology.route_tables.insert(
        table.as_str().into(),
        RouteTable {
            routes: [(network("0.0.0.0/0"), Target::InternetGateway)].into(),
        },
    );
    add_subnet(topology, suffix, suffix, "10.0.0.0/24", Some(&table));
}

/// Adds `subnet-<suffix>` to `vpc-<vpc>`.
pub(super) fn add_subnet(
    topology: &mut Topology,
    suffix: &str,
    vpc: &str,
    cidr: &str,
    table: Option<&str>,
) {
    topology.subnets.insert(
        format!("subnet-{suffix}").as_str().into(),
        Subnet {
            vpc: format!("vpc-{vpc}").as_str().into(),
            cidr: network(cidr),
            route_table: table.map(Into::into),
            network_acl: None,
        },
    );
}

/// Adds `eni-<name>` to `subnet-<subnet>`.
pub(super) fn add_interface(
    topology: &mut Topology,
    name: &str,
    subnet: &str,
    at: &str,
    public: Option<&str>,
    groups: &[&str],
) {
    topology.interfaces.insert(
        format!("eni-{name}").as_str().into(),
        Interface {
            subnet: format!("subnet-{subnet}").as_str().into(),
            address: address(at),
            public_address: public.map(address),
            security_groups: groups.iter().map(|group| (*group).into()).collect(),
        },
    );
}

/// Adds a NAT gateway `nat-<name>` to `subnet-<subnet>`.
pub(super) fn add_nat(topology: &mut Topology, name: &str, subnet: &str, at: &str, public: &str) {
    topology.nat_gateways.insert(
        format!("nat-{name}").as_str().into(),
        NatGateway {
            subnet: format!("subnet-{subnet}").as_str().into(),
            address: address(at),
            public_address: address(public),
        },
    );
}

/// Adds a security group.
pub(super) fn add_group(
    topology: &mut Topology,
    name: &str,
    ingress: &[GroupRule],
    egress: &[GroupRule],
) {
    topology.security_groups.insert(
        name.into(),
        SecurityGroup {
            ingress: ingress.iter().cloned().collect(),
            egress: egress.iter().cloned().collect(),
        },
    );
}

pub(super) fn tcp(port: u16, cidr: &str) -> GroupRule {
    GroupRule {
        traffic: Traffic::Tcp(Ports::one(port)),
        peer: Peer::Cidr(network(cidr)),
    }
}

pub(super) fn tcp_group(port: u16, group: &str) -> GroupRule {
    GroupRule {
        traffic: Traffic::Tcp(Ports::one(port)),
        peer: Peer::Group(group.into()),
    }
}

pub(super) fn everything() -> GroupRule {
    GroupRule {
        traffic: Traffic::All,
        peer: Peer::Cidr(network("0.0.0.0/0")),
    }
}

pub(super) fn entry(allow: bool, traffic: Traffic, cidr: &str) -> AclEntry {
    AclEntry {
        allow,
        traffic,
        cidr: network(cidr),
    }
}

// === packets ===

/// A TCP server that tells each client the address that it sees, until the process ends.
pub(super) fn serve(namespace: &Namespace, port: u16) {
    serve_at(namespace, Ipv4Addr::UNSPECIFIED, port);
}

/// The same at one address.
pub(super) fn serve_at(namespace: &Namespace, at: Ipv4Addr, port: u16) {
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
pub(super) enum Outcome {
    /// A server answered, and saw this source address.
    Seen(Ipv4Addr),
    /// There was a host, and no server.
    Refused,
    /// Nothing came back.
    Silence,
}

/// Connects over TCP and reads what the server says.
pub(super) fn connect(namespace: &Namespace, to: Ipv4Addr, port: u16) -> Outcome {
    let to = SocketAddr::from((to, port));
    namespace
        .enter(|| match TcpStream::connect_timeout(&to, PATIENCE) {
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
pub(super) fn serve_udp(namespace: &Namespace, port: u16) {
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
pub(super) fn ask_udp(namespace: &Namespace, to: Ipv4Addr, port: u16) -> Outcome {
    let socket = namespace
        .enter(|| UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))
        .unwrap()
        .unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((to, port)).unwrap();
    let mut buffer = [0; 64];
    match socket.send(b"?").and_then(|_| socket.recv(&mut buffer)) {
        Ok(length) => Outcome::Seen(address(std::str::from_utf8(&buffer[..length]).unwrap())),
        Err(error) => outcome(&error),
    }
}
