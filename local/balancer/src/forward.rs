//! Connections from the host: a loopback port forwards to the public addresses of a balancer's nodes, as from the
//! internet.
//!
//! A socket keeps the namespace in which it was created. So one thread in the internet's namespace can accept from
//! sockets that listen in the host's namespace, and connect from its own. Traffic that the security groups, network
//! ACLs and routes forbid to the internet is also refused on loopback.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Pin;
use super::meter::{Meter, Phase};
use super::room::Room;
use super::thread::PinnedThread;
use landfall_kernel::accept::{AcceptErrors, is_exhaustion};
use landfall_kernel::descriptors::Budget;

/// How long a node may take to accept before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a node that did not accept is tried last.
const EJECTION_PERIOD: Duration = Duration::from_secs(10);
/// How long a client may keep its side open after the node has closed its own. The node waits as long for the client.
const HALF_CLOSED: Duration = Duration::from_secs(35);
const BUFFER: usize = 16 * 1024;

/// The thread in the internet's namespace for all forwarded connections.
///
/// Dropping it closes all ports and all connections at once.
pub struct Forwarder {
    thread: PinnedThread,
    shared: Arc<ForwarderTasks>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.tasks.close();
        self.shared.stop.cancel();
    }
}

struct ForwarderTasks {
    tasks: TaskTracker,
    /// Accept nothing new, and drop the open connections.
    stop: CancellationToken,
    /// All ports together; more connections wait in the kernel's accept queue.
    room: Arc<Room>,
}

/// One forwarded port. Dropping it closes the port; open connections continue.
#[derive(Debug)]
pub struct Forward {
    nodes: Arc<Mutex<Nodes>>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Nodes {
    turn: usize,
    /// The addresses, and the end of each ejection period.
    all: Vec<(SocketAddr, Option<Instant>)>,
}

impl Nodes {
    /// All nodes in the order of the next connection's attempts.
    fn next(&mut self) -> Vec<SocketAddr> {
        let now = Instant::now();
        let count = self.all.len();
        let start = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let mut order: Vec<_> = (0..count)
            .map(|n| self.all[start.wrapping_add(n) % count])
            .collect();
        order.sort_by_key(|(_, ejected)| ejected.is_some_and(|until| now < until));
        order.into_iter().map(|(addr, _)| addr).collect()
    }

    fn note(&mut self, addr: SocketAddr, answered: bool) {
        for (known, ejected) in &mut self.all {
            if *known == addr {
                *ejected = (!answered).then(|| Instant::now() + EJECTION_PERIOD);
            }
        }
    }
}

impl Forwarder {
    /// Starts the thread. The thread first calls `pin` to enter the internet's namespace.
    ///
    /// # Errors
    /// When the thread cannot be started or `pin` fails.
    pub async fn start(name: &str, pin: Pin) -> io::Result<Self> {
        let shared = Arc::new(ForwarderTasks {
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            room: Room::new(Budget::now().forwarded()),
        });
        let main = {
            let shared = Arc::clone(&shared);
            async move {
                shared.stop.cancelled().await;
                shared.tasks.wait().await;
            }
        };
        Ok(Self {
            thread: PinnedThread::start(name, pin, main).await?,
            shared,
        })
    }

    /// Forwards the connections to `listener` to the nodes, in turn. A node that does not accept is skipped. If no
    /// node accepts, the client's connection is reset.
    ///
    /// # Errors
    /// When the listener cannot be handed to the thread.
    pub fn forward(
        &self,
        listener: StdListener,
        nodes: impl IntoIterator<Item = SocketAddr>,
    ) -> io::Result<Forward> {
        let shared = Arc::clone(&self.shared);
        listener.set_nonblocking(true)?;
        let listener = {
            let _inside = self.thread.handle().enter();
            TcpListener::from_std(listener)?
        };
        let forward = Forward {
            nodes: Arc::default(),
            stop: shared.stop.child_token(),
        };
        forward.set_nodes(nodes);
        let nodes = Arc::clone(&forward.nodes);
        let stop = forward.stop.clone();
        let tasks = shared.tasks.clone();
        let accepting = async move {
            tokio::select! {
                () = accept(&shared, &listener, &nodes) => {}
                () = stop.cancelled() => {}
            }
        };
        tasks.spawn_on(accepting, self.thread.handle());
        Ok(forward)
    }
}

impl Forward {
    /// Replaces the nodes for new connections.
    pub fn set_nodes(&self, nodes: impl IntoIterator<Item = SocketAddr>) {
        lock(&self.nodes).all = nodes.into_iter().map(|addr| (addr, None)).collect();
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock(nodes: &Mutex<Nodes>) -> std::sync::MutexGuard<'_, Nodes> {
    nodes.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(shared: &Arc<ForwarderTasks>, listener: &TcpListener, nodes: &Arc<Mutex<Nodes>>) {
    let mut errors = AcceptErrors::new("loopback port");
    let share = shared.room.share();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                errors.passed();
                let nodes = Arc::clone(nodes);
                let stop = shared.stop.clone();
                let meter = Arc::<Meter>::default();
                let seat = share.seat(&meter).await;
                shared.tasks.spawn(async move {
                    tokio::select! {
                        () = carry(client, &nodes, &meter) => {}
                        () = stop.cancelled() => {}
                    }
                    drop(seat);
                });
            }
            Err(error) => errors.failed(&error).await,
        }
    }
}

async fn carry(mut client: TcpStream, nodes: &Mutex<Nodes>, meter: &Meter) {
    let order = lock(nodes).next();
    for addr in order {
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
        // If the process is out of files, the attempt says nothing about the node.
        if !matches!(&connected, Ok(Err(error)) if is_exhaustion(error)) {
            lock(nodes).note(addr, matches!(connected, Ok(Ok(_))));
        }
        let Ok(Ok(mut node)) = connected else {
            continue;
        };
        // Without this, small messages may wait for acknowledgements. It fails only on a connection that is already
        // closed.
        let _ = client.set_nodelay(true);
        let _ = node.set_nodelay(true);
        let copied = {
            let mut copying = pin!(copy(&mut client, &mut node, meter));
            poll_fn(|cx| {
                meter.set_waker(cx.waker());
                match meter.is_evicted() {
                    true => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                    false => copying.as_mut().poll(cx),
                }
            })
            .await
        };
        if copied.is_err() {
            // One side was reset, so the other one is reset too.
            let _ = client.set_zero_linger();
            let _ = node.set_zero_linger();
        }
        return;
    }
    // No node accepted: the client gets a reset, as from a host that refuses.
    let _ = client.set_zero_linger();
}

/// Copies in both directions. An end of input is passed on, so a half-closed connection stays half open; after the
/// node's end, for a limited time.
async fn copy(client: &mut TcpStream, node: &mut TcpStream, meter: &Meter) -> io::Result<()> {
    let (client_read, client_write) = client.split();
    let (node_read, node_write) = node.split();
    let mut up = pin!(one_way(client_read, node_write, || {}));
    // The node's first byte marks a connection with a whole request.
    let mut down = pin!(one_way(node_read, client_write, || meter.set_phase(Phase::Body)));
    tokio::select! {
        result = &mut up => {
            result?;
            down.await
        }
        result = &mut down => {
            result?;
            timeout(HALF_CLOSED, up).await.map_err(|_| io::ErrorKind::TimedOut)?
        }
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut moved: impl FnMut(),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        moved();
        to.write_all(&buffer[..n]).await?;
    }
}
