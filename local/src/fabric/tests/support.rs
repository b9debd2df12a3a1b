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
    AclEntry, GroupRule, Interface, NatGateway, NetworkAcl, Peer, Ports, RouteTable, SecurityGroup,
    Subnet, Target, Topology, Traffic, Vpc,
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

/// The network of a service over two zones: balancer nodes, NAT gateways and a bastion in public
/// subnets, instances in private ones, an endpoint for S3.
///
/// `public` is added to the last byte of each public address.
pub(super) fn two_zones(stack: &str, public: u8) -> Topology {
    let mut topology = internet();
    let id = |kind: &str, name: &str| format!("{kind}-{stack}-{name}");
    let outside = |byte: u8| format!("203.0.113.{}", byte + public);
    topology.vpcs.insert(
        format!("vpc-{stack}").as_str().into(),
        Vpc {
            cidr: network("10.0.0.0/16"),
            internet_gateway: true,
        },
    );
    let anywhere = network("0.0.0.0/0");
    let table = |routes: &[(Ipv4Net, Target)]| RouteTable {
        routes: routes.iter().cloned().collect(),
    };
    let tables = &mut topology.route_tables;
    tables.insert(
        id("rtb", "public").as_str().into(),
        table(&[(anywhere, Target::InternetGateway)]),
    );
    let (lb, web, bastion) = (id("sg", "lb"), id("sg", "web"), id("sg", "bastion"));
    for zone in 0..2_u8 {
        let routes = [
            (
                anywhere,
                Target::NatGateway(id("nat", &zone.to_string()).as_str().into()),
            ),
            (network("198.51.100.0/24"), Target::GatewayEndpoint),
        ];
        let private = id("rtb", &format!("private-{zone}"));
        topology
            .route_tables
            .insert(private.as_str().into(), table(&routes));
        let public_subnet = format!("{stack}-public-{zone}");
        let private_subnet = format!("{stack}-private-{zone}");
        let in_public = |host: u8| format!("10.0.{zone}.{host}");
        let in_private = |host: u8| format!("10.0.{}.{host}", 10 + zone);
        let public_table = id("rtb", "public");
        for (subnet, cidr, table, acl) in [
            (&public_subnet, in_public(0), &public_table, "public"),
            (&private_subnet, in_private(0), &private, "private"),
        ] {
            add_subnet(
                &mut topology,
                subnet,
                stack,
                &format!("{cidr}/24"),
                Some(table),
            );
            let subnet = format!("subnet-{subnet}").as_str().into();
            topology.subnets.get_mut(&subnet).unwrap().network_acl =
                Some(id("acl", acl).as_str().into());
        }
        let nat = format!("{stack}-{zone}");
        add_nat(
            &mut topology,
            &nat,
            &public_subnet,
            &in_public(5),
            &outside(10 + zone),
        );
        let node = format!("{stack}-lb-{zone}");
        let elastic = outside(20 + zone);
        add_interface(
            &mut topology,
            &node,
            &public_subnet,
            &in_public(6),
            Some(&elastic),
            &[&lb],
        );
        let name = format!("{stack}-web-{zone}");
        add_interface(
            &mut topology,
            &name,
            &private_subnet,
            &in_private(6),
            None,
            &[&web],
        );
        if zone == 0 {
            let (name, at) = (format!("{stack}-bastion"), in_public(7));
            let elastic = outside(30);
            add_interface(
                &mut topology,
                &name,
                &public_subnet,
                &at,
                Some(&elastic),
                &[&bastion],
            );
        }
    }
    add_group(
        &mut topology,
        &lb,
        &[tcp(80, "0.0.0.0/0")],
        &[tcp_group(8000, &web)],
    );
    let from = [tcp_group(8000, &lb), tcp_group(22, &bastion)];
    add_group(&mut topology, &web, &from, &[tcp(443, "0.0.0.0/0")]);
    add_group(
        &mut topology,
        &bastion,
        &[tcp(22, "203.0.113.0/24")],
        &[tcp_group(22, &web)],
    );
    let ports = |port| Traffic::Tcp(Ports::one(port));
    let answers = || {
        Traffic::Tcp(Ports {
            from: 1024,
            to: u16::MAX,
        })
    };
    let public_acl = NetworkAcl {
        inbound: [
            (100, entry(true, ports(80), "0.0.0.0/0")),
            (110, entry(true, ports(22), "0.0.0.0/0")),
            (120, entry(true, ports(443), "10.0.0.0/16")),
            (130, entry(true, answers(), "0.0.0.0/0")),
        ]
        .into(),
        outbound: [
            (100, entry(true, ports(443), "0.0.0.0/0")),
            (110, entry(true, ports(22), "10.0.0.0/16")),
            (120, entry(true, answers(), "0.0.0.0/0")),
        ]
        .into(),
    };
    let private_acl = NetworkAcl {
        inbound: [
            (100, entry(true, ports(8000), "10.0.0.0/16")),
            (110, entry(true, ports(22), "10.0.0.0/16")),
            (120, entry(true, answers(), "0.0.0.0/0")),
        ]
        .into(),
        outbound: [
            (100, entry(true, ports(443), "0.0.0.0/0")),
            (110, entry(true, answers(), "10.0.0.0/16")),
        ]
        .into(),
    };
    for (name, acl) in [("public", public_acl), ("private", private_acl)] {
        topology
            .network_acls
            .insert(id("acl", name).as_str().into(), acl);
    }
    topology
}

/// Adds what another topology has.
pub(super) fn merge(topology: &mut Topology, other: Topology) {
    topology.vpcs.extend(other.vpcs);
    topology.subnets.extend(other.subnets);
    topology.route_tables.extend(other.route_tables);
    topology.network_acls.extend(other.network_acls);
    topology.security_groups.extend(other.security_groups);
    topology.nat_gateways.extend(other.nat_gateways);
    topology.interfaces.extend(other.interfaces);
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

/// The same with a source address.
pub(super) fn connect_from(
    namespace: &Namespace,
    from: Ipv4Addr,
    to: Ipv4Addr,
    port: u16,
) -> Outcome {
    let attempt = async || -> io::Result<TcpStream> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = tokio::time::timeout(PATIENCE, socket.connect((to, port).into())).await??;
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
pub(super) struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    pub(super) fn open(from: &Namespace, to: &Namespace, at: Ipv4Addr, port: u16) -> Self {
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
        client.set_read_timeout(Some(2 * PATIENCE)).unwrap();
        server.set_read_timeout(Some(2 * PATIENCE)).unwrap();
        Self { client, server }
    }

    /// Whether a byte gets through in each direction.
    pub(super) fn passes(&mut self) -> bool {
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
pub(super) fn links(namespace: &Namespace) -> Vec<String> {
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
pub(super) fn answering(from: &Namespace, to: &str, ports: &[u16]) -> Vec<u16> {
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
