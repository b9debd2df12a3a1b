//! The kernel's network configuration over netlink: links, addresses, routes, rules, nftables.

pub(crate) mod nft;
pub(crate) mod route;
pub(crate) mod ruleset;

use std::io;

use netlink_bindings::nftables::{self, Nfgenmsg};
use netlink_socket2::{NetlinkSocket, ReplyError};

/// The result of a request to the kernel.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A request that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {why}")]
pub struct Error {
    /// The attempted operation: a verb and its object.
    doing: String,
    /// The kernel's error, with the text that it attached.
    why: String,
}

impl Error {
    fn new(doing: impl Into<String>, reply: ReplyError) -> Self {
        let doing = doing.into();
        let why = reply.to_string();
        Self { doing, why }
    }

    fn io(doing: impl Into<String>, error: &io::Error) -> Self {
        Self {
            doing: doing.into(),
            why: error.to_string(),
        }
    }
}

/// Netlink sockets of one network namespace.
///
/// A socket belongs to the namespace of the thread that opened it. So an instance is opened inside the namespace, and
/// can then be used from any thread.
pub(crate) struct Netlink {
    socket: NetlinkSocket,
}

impl Netlink {
    /// Opens the routing socket in the namespace of the calling thread, and brings up its loopback link.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the socket or the change of the link.
    pub(crate) fn open() -> Result<Self> {
        let mut netlink = Self {
            socket: NetlinkSocket::new(),
        };
        netlink.set_link_up(route::LOOPBACK)?;
        Ok(netlink)
    }

    /// Opens the nftables socket as well, in the namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When the kernel has no nftables.
    pub(crate) fn with_nftables(mut self) -> Result<Self> {
        let doing = "talk to nftables (the kernel needs nf_tables with ct, nat and hash sets)";
        let request = nftables::Request::new().op_getgen_do(&Nfgenmsg::new());
        self.socket
            .request(&request)
            .map_err(|error| Error::io(doing, &error))?
            .recv_one()
            .map_err(|error| Error::new(doing, error))?;
        Ok(self)
    }

    /// The number of sent requests.
    #[cfg(test)]
    pub(crate) fn requests(&mut self) -> u32 {
        self.socket.reserve_seq(0)
    }
}
