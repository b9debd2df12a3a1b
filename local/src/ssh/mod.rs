//! The SSH servers of bastions and of instances with a key pair.
//!
//! A [`SshListener`] listens in the instance's own network namespace, so that security groups, network ACLs
//! and routes apply to it. Its [`SshHost`] has the authorized key and the container. One thread serves all
//! of them, beside the thread of the records.

mod cut;
pub(crate) mod files;
mod host;
mod session;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use landfall_compute::HostKey;
use russh::MethodKind;
use russh::MethodSet;
use russh::keys::{Algorithm, PrivateKey};
use russh::server::Config;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(crate) use host::{Inside, SshHost};

use landfall_kernel::accept::{AcceptErrors, Newcomers};
use landfall_kernel::descriptors::Budget;

/// The only user that can log in: the default user of Amazon Linux.
pub(crate) const USER: &str = "ec2-user";

/// Whether this build contains the servers.
pub(crate) const AVAILABLE: bool = true;

/// The port of SSH.
pub(crate) const PORT: u16 = 22;

/// The time limit for a login.
const LOGIN_WITHIN: Duration = Duration::from_secs(30);

/// The interval of keepalive requests to a silent client.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);

/// The maximum number of clients per host that have not logged in. One more disconnects the oldest.
const MOST_NEWCOMERS: usize = 64;

/// The thread that serves all SSH servers.
#[derive(Debug)]
pub(crate) struct Servers {
    runtime: Handle,
    /// The limit of connections to all servers.
    room: Arc<Semaphore>,
    /// Dropping this ends the thread.
    _alive: CancellationToken,
}

impl Servers {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be created.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let alive = CancellationToken::new();
        let end = alive.clone();
        std::thread::Builder::new()
            .name("ssh".to_owned())
            .spawn(move || runtime.block_on(end.cancelled()))?;
        Ok(Self {
            runtime: handle,
            room: Arc::new(Semaphore::new(Budget::now().ssh())),
            _alive: alive,
        })
    }

    /// Opens the SSH server of a host at this address of its network.
    ///
    /// # Errors
    /// When the port is taken, or no key can be generated.
    pub(crate) fn open(&self, address: SocketAddr, machine: SshHost) -> io::Result<SshListener> {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
            .map_err(io::Error::other)?;
        let text = key.public_key().to_openssh().map_err(io::Error::other)?;
        let host_key = HostKey::new(&text).map_err(io::Error::other)?;
        let listener = machine.namespace().enter(|| listen(address))??;
        let config = Arc::new(Config {
            server_id: russh::SshId::Standard("SSH-2.0-Landfall".into()),
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::from_millis(200),
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![key],
            inactivity_timeout: None,
            keepalive_interval: Some(KEEPALIVE_EVERY),
            channel_buffer_size: 1024,
            nodelay: true,
            ..Config::default()
        });
        let stop = CancellationToken::new();
        let until = stop.clone();
        let machine = Arc::new(machine);
        let room = Arc::clone(&self.room);
        let newcomers = Newcomers::new(MOST_NEWCOMERS.min(Budget::now().ssh() / 4));
        self.runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            let mut errors = AcceptErrors::new(format!("SSH server of {}", machine.name()));
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = until.cancelled() => return,
                };
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        errors.failed(&error).await;
                        continue;
                    }
                };
                errors.passed();
                let Ok(room) = Arc::clone(&room).try_acquire_owned() else {
                    // Closed at once, like sshd beyond its MaxStartups.
                    continue;
                };
                let newcomer = newcomers.enter();
                let (config, machine) = (Arc::clone(&config), Arc::clone(&machine));
                let until = until.clone();
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    session::serve(config, stream, machine, newcomer, &until).await;
                    drop(room);
                });
            }
        });
        Ok(SshListener { host_key, stop })
    }
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A host's SSH server; dropping it closes the port and ends every session.
#[derive(Debug)]
pub(crate) struct SshListener {
    host_key: HostKey,
    stop: CancellationToken,
}

impl SshListener {
    /// The host key.
    pub(crate) fn host_key(&self) -> &HostKey {
        &self.host_key
    }
}

impl Drop for SshListener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
