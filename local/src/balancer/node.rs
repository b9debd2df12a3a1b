//! A node: one thread inside its zone's network namespace that accepts, proxies and checks health.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::table::Shared;
use super::upstream::Pool;
use super::{Error, Pin, client};

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// The kernel's accept queue of each listening socket.
const BACKLOG: u32 = 1024;

/// What the tasks of one node share.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) pool: Pool,
    /// Client connections and tunnels.
    pub(super) tasks: TaskTracker,
    /// Finish what is in flight and accept nothing new.
    pub(super) stop: CancellationToken,
    /// Drop what is still in flight.
    pub(super) abort: CancellationToken,
    room: Arc<Semaphore>,
}

enum Command {
    Listen(Vec<u16>, oneshot::Sender<Result<(), Error>>),
    Stop(Duration),
}

/// A running node.
pub(super) struct Node {
    commands: mpsc::UnboundedSender<Command>,
    handle: Handle,
    thread: thread::JoinHandle<()>,
    done: oneshot::Receiver<()>,
}

impl Node {
    /// Starts the node's thread, which first of all calls `pin` to enter its network namespace.
    ///
    /// # Errors
    /// When the thread cannot be made or `pin` fails; nothing is left behind then.
    pub(super) async fn start(
        name: String,
        bind: Ipv4Addr,
        pin: Pin,
        shared: Arc<Shared>,
    ) -> Result<Self, Error> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (started, start) = oneshot::channel();
        let (finished, done) = oneshot::channel();
        let node = name.clone();
        let thread = thread::Builder::new()
            // The kernel keeps 15 characters of it.
            .name(name.chars().take(15).collect())
            .spawn(move || {
                let made = pin().and_then(|()| {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                });
                match made {
                    Err(error) => drop(started.send(Err(error))),
                    Ok(runtime) => {
                        if started.send(Ok(runtime.handle().clone())).is_ok() {
                            runtime.block_on(run(shared, bind, inbox));
                        }
                    }
                }
                // Nobody may be waiting for it.
                let _ = finished.send(());
            })
            .map_err(|source| Error::StartNode {
                node: node.clone(),
                source,
            })?;
        match start.await {
            Ok(Ok(handle)) => Ok(Self {
                commands,
                handle,
                thread,
                done,
            }),
            Ok(Err(source)) => Err(Error::StartNode { node, source }),
            Err(_) => Err(Error::NodeGone),
        }
    }

    /// Listens on exactly these ports from now on.
    ///
    /// # Errors
    /// When a port cannot be bound; the other ports are bound nevertheless.
    pub(super) fn listen(
        &self,
        ports: Vec<u16>,
    ) -> impl Future<Output = Result<(), Error>> + use<> {
        let (reply, answer) = oneshot::channel();
        // When this fails, so does the answer.
        let _ = self.commands.send(Command::Listen(ports, reply));
        async move { answer.await.map_err(|_| Error::NodeGone)? }
    }

    /// Runs a task on the node's thread, and so in its namespace.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.handle.spawn(task)
    }

    /// Accepts nothing new, gives what is in flight this long, and ends the thread.
    pub(super) async fn stop(self, patience: Duration) {
        // Either can only fail when the thread has ended already.
        let _ = self.commands.send(Command::Stop(patience));
        let _ = self.done.await;
        let _ = self.thread.join();
    }
}

async fn run(shared: Arc<Shared>, bind: Ipv4Addr, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut changed = shared.changed.subscribe();
    let idle_timeout = shared.attributes.idle_timeout;
    let worker = Arc::new(Worker {
        room: Arc::new(Semaphore::new(shared.attributes.max_connections)),
        shared,
        pool: Pool::default(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        abort: CancellationToken::new(),
    });
    let mut listening: BTreeMap<u16, JoinHandle<()>> = BTreeMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    // A closed inbox means that the balancer was dropped: stop at once.
    let mut patience = Duration::ZERO;
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Listen(ports, reply)) => {
                    // Nobody may be waiting for it.
                    let _ = reply.send(listen(&worker, bind, &ports, &mut listening));
                }
                Some(Command::Stop(given)) => {
                    patience = given;
                    break;
                }
                None => break,
            },
            Ok(()) = changed.changed() => {
                worker.pool.sweep(&worker.shared.table(), idle_timeout);
            }
            _ = sweep.tick() => worker.pool.sweep(&worker.shared.table(), idle_timeout),
        }
    }
    for accepting in listening.into_values() {
        accepting.abort();
    }
    worker.stop.cancel();
    worker.tasks.close();
    if tokio::time::timeout(patience, worker.tasks.wait())
        .await
        .is_err()
    {
        worker.abort.cancel();
        worker.tasks.wait().await;
    }
}

fn listen(
    worker: &Arc<Worker>,
    bind: Ipv4Addr,
    ports: &[u16],
    listening: &mut BTreeMap<u16, JoinHandle<()>>,
) -> Result<(), Error> {
    listening.retain(|port, accepting| {
        let keep = ports.contains(port);
        if !keep {
            accepting.abort();
        }
        keep
    });
    let mut result = Ok(());
    for &port in ports {
        if listening.contains_key(&port) {
            continue;
        }
        match bound(bind, port) {
            Ok(listener) => {
                let accepting = tokio::spawn(accept(Arc::clone(worker), listener, port));
                listening.insert(port, accepting);
            }
            Err(source) => {
                result = Err(Error::Listen {
                    addr: (bind, port).into(),
                    source,
                })
            }
        }
    }
    result
}

fn bound(bind: Ipv4Addr, port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::V4(SocketAddrV4::new(bind, port)))?;
    socket.listen(BACKLOG)
}

async fn accept(worker: Arc<Worker>, listener: TcpListener, port: u16) {
    loop {
        let Ok(room) = Arc::clone(&worker.room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without it small responses may wait for the client's acknowledgement.
                let _ = stream.set_nodelay(true);
                let connection = client::serve(Arc::clone(&worker), stream, peer, port);
                worker.tasks.spawn(async move {
                    connection.await;
                    drop(room);
                });
            }
            // Out of files or memory: accepting again at once would only spin. Any other error is
            // about a connection that is gone already.
            Err(error) if error.raw_os_error().is_some_and(is_exhaustion) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(_) => {}
        }
    }
}

fn is_exhaustion(errno: i32) -> bool {
    use nix::errno::Errno;
    matches!(
        Errno::from_raw(errno),
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM
    )
}
