//! The SSH servers in a build without the feature `ssh`: there are none, and nothing that needs one is created.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use landfall_compute::{HostKey, PublicKey};
use landfall_kernel::netns::Namespace;
use landfall_sandbox::Running;

/// The port of SSH.
pub(crate) const PORT: u16 = 22;

/// Whether this build contains the servers.
pub(crate) const AVAILABLE: bool = false;

/// The servers of all instances.
#[derive(Debug)]
pub(crate) struct Servers;

impl Servers {
    #[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
    pub(crate) fn start() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn open(&self, _: SocketAddr, _: SshHost) -> io::Result<SshListener> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// The contents of an instance.
#[expect(dead_code, reason = "no server reads it")]
pub(crate) enum Inside {
    Bastion,
    Container(Box<dyn Fn() -> Option<Arc<Running>> + Send + Sync>),
}

/// An instance that a user could log in to.
pub(crate) struct SshHost;

impl SshHost {
    pub(crate) fn new(_: String, _: Namespace, _: Option<&PublicKey>, _: Inside) -> Self {
        Self
    }
}

/// The server of an instance, which this build never creates.
#[derive(Debug)]
pub(crate) enum SshListener {}

impl SshListener {
    pub(crate) fn host_key(&self) -> &HostKey {
        match *self {}
    }
}

/// The server of files.
pub(crate) mod files {
    /// Serves nothing; the exit code says so.
    pub(crate) fn serve() -> i32 {
        landfall_kernel::log(format_args!(
            "serve files: this program was built without the feature `ssh`"
        ));
        1
    }
}
