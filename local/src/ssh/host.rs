//! The machine behind a door: whose key opens it, what runs inside, and where it connects from.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use landfall_compute::PublicKey;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::USER;
use landfall_kernel::netns::Namespace;
use landfall_sandbox::Running;

/// How long a connection that a client asks for may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// What is inside of a machine.
pub(crate) enum Inside {
    /// Nothing that could be run: connections are carried on, and that is all.
    Bastion,
    /// A container, once it runs.
    Container(Box<dyn Fn() -> Option<Arc<Running>> + Send + Sync>),
}

/// A machine that can be logged in to.
pub(crate) struct SshHost {
    name: String,
    namespace: Namespace,
    /// As SSH has it; nobody gets in without one.
    authorised: Option<russh::keys::PublicKey>,
    inside: Inside,
}

impl fmt::Debug for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl SshHost {
    /// A machine by its name for people, with the key that opens it.
    pub(crate) fn new(
        name: String,
        namespace: Namespace,
        authorised: Option<&PublicKey>,
        inside: Inside,
    ) -> Self {
        Self {
            name,
            namespace,
            authorised: authorised
                .and_then(|key| russh::keys::PublicKey::from_openssh(key.as_str()).ok()),
            inside,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn inside(&self) -> &Inside {
        &self.inside
    }

    /// Whether this user may log in with this key.
    pub(super) fn admits(&self, user: &str, key: &russh::keys::PublicKey) -> bool {
        let same = |own: &russh::keys::PublicKey| own.key_data() == key.key_data();
        user == USER && self.authorised.as_ref().is_some_and(same)
    }

    /// Connects from the machine's own network to where a client wants.
    ///
    /// # Errors
    /// When nobody answers there, or the name is none.
    pub(super) async fn connect(&self, host: &str, port: u32) -> io::Result<TcpStream> {
        let address = match host.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) if host == "localhost" => Ipv4Addr::LOCALHOST.into(),
            // There is no name server in this cloud.
            Err(_) => return Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let port = u16::try_from(port).map_err(|_| io::ErrorKind::InvalidInput)?;
        let socket = self.namespace.enter(|| match address {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        })??;
        let stream = timeout(
            CONNECT_WITHIN,
            socket.connect(SocketAddr::new(address, port)),
        );
        let stream = stream.await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
