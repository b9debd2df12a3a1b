//! The host of an SSH server: its authorized key, its container, and its network.

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

/// The time limit for a forwarded connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// The inside of a host.
pub(crate) enum Inside {
    /// A bastion: it only forwards connections.
    Bastion,
    /// A container, if it runs.
    Container(Box<dyn Fn() -> Option<Arc<Running>> + Send + Sync>),
}

/// A host with an SSH server.
pub(crate) struct SshHost {
    name: String,
    namespace: Namespace,
    /// The authorized key; without one, nobody can log in.
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
    /// A host with its name for people and its authorized key.
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

    /// Connects from the host's network to the client's destination.
    ///
    /// # Errors
    /// When the destination does not answer, or is not an address.
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
