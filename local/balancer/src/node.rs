//! A node: one thread inside its zone's network namespace that accepts, proxies and checks health.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::meter::Meter;
use super::table::SharedTable;
use super::thread::PinnedThread;
use super::upstream::Pool;
use super::worker::Worker;
use super::{Error, Pin, client};
use landfall_kernel::accept::{EXHAUSTED_PAUSE, is_exhaustion};

/// The interval between two sweeps of idle connections.
const SWEEP: Duration = Duration::from_secs(5);
/// Freed memory is returned to the system after a sweep that follows this many released connections.
const TRIM_AFTER: usize = 256;
/// The length of the kernel's accept queue of each listening socket.
const BACKLOG: u32 = 1024;

enum Command {
    Listen(Vec<u16>, oneshot::Sender<Result<(), Error>>),
    Stop(Duration),
}

/// A running node.
pub(super) struct ZoneNode {
    commands: mpsc::UnboundedSender<Command>,
    thread: PinnedThread,
}

impl ZoneNode {
    /// Starts the node's thread. The thread first calls `pin` to enter its network namespace.
    ///
    /// # Errors
    /// When the thread cannot be started or `pin` fails. Nothing is left behind then.
    pub(super) async fn start(
        name: String,
        bind: Ipv4Addr,
        pin: Pin,
        shared: Arc<SharedTable>,
    ) -> Result<Self, Error> {
        let (commands, inbox) = mpsc::unbounded_channel();
        match PinnedThread::start(&name, pin, run(shared, bind, inbox)).await {
            Ok(thread) => Ok(Self { commands, thread }),
            Err(source) => Err(Error::StartNode { node: name, source }),
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
        // If this fails, the reply fails too.
        let _ = self.commands.send(Command::Listen(ports, reply));
        async move { answer.await.map_err(|_| Error::NodeGone)? }
    }

    /// Runs a task on the node's thread, and so in its namespace.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.thread.handle().spawn(task)
    }

    /// Stops accepting, waits up to `time_limit` for the requests in flight, and ends the thread.
    pub(super) async fn stop(self, time_limit: Duration) {
        // This fails only if the thread has already ended.
        let _ = self.commands.send(Command::Stop(time_limit));
        self.thread.join().await;
    }
}

async fn run(
    shared: Arc<SharedTable>,
    bind: Ipv4Addr,
    mut inbox: mpsc::UnboundedReceiver<Command>,
) {
    let mut changed = shared.changed.subscribe();
    let sweeps = shared.attributes.idle_timeout.as_nanos() / SWEEP.as_nanos();
    let idle_sweeps = u32::try_from(sweeps).unwrap_or(u32::MAX);
    let worker = Arc::new(Worker::new(shared, Pool::new(idle_sweeps)));
    let mut listening: BTreeMap<u16, JoinHandle<()>> = BTreeMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    // A closed inbox means that the balancer was dropped: stop at once.
    let mut time_limit = Duration::ZERO;
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Listen(ports, reply)) => {
                    // The caller may have stopped waiting.
                    let _ = reply.send(listen(&worker, bind, &ports, &mut listening).await);
                }
                Some(Command::Stop(given)) => {
                    time_limit = given;
                    break;
                }
                None => break,
            },
            Ok(()) = changed.changed() => {
                worker.pool.sweep(&worker.shared.table(), false);
            }
            _ = sweep.tick() => {
                worker.pool.sweep(&worker.shared.table(), true);
                if worker.room.take_released() >= TRIM_AFTER {
                    landfall_kernel::memory::release_free_memory();
                }
            }
        }
    }
    for accepting in listening.into_values() {
        accepting.abort();
    }
    worker.end_accepting();
    worker.tasks.close();
    if tokio::time::timeout(time_limit, worker.tasks.wait())
        .await
        .is_err()
    {
        worker.end_requests();
        worker.tasks.wait().await;
    }
}

async fn listen(
    worker: &Arc<Worker>,
    bind: Ipv4Addr,
    ports: &[u16],
    listening: &mut BTreeMap<u16, JoinHandle<()>>,
) -> Result<(), Error> {
    let removed = listening.extract_if(.., |port, _| !ports.contains(port));
    for (_, accepting) in removed.collect::<Vec<_>>() {
        accepting.abort();
        // The socket is closed when the task has ended; until then, its port cannot be bound again.
        let _ = accepting.await;
    }
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
    let share = worker.room.share();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without this, small responses may wait for the client's acknowledgement.
                let _ = stream.set_nodelay(true);
                let meter = Arc::<Meter>::default();
                let seat = share.seat(&meter).await;
                let serving = Arc::clone(&worker);
                worker
                    .tasks
                    .spawn(client::serve(serving, stream, peer, port, meter, seat));
            }
            // The process is out of files or memory; an immediate retry would spin. Any other error belongs to a
            // connection that is already closed.
            Err(error) if is_exhaustion(&error) => {
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attributes;
    use crate::tests::own_address;

    #[tokio::test]
    async fn removed_port_can_be_bound_again() {
        let shared = Arc::new(SharedTable::new(Attributes::default()));
        let bind = own_address();
        let pin = Box::new(|| Ok(()));
        let node = ZoneNode::start("node".to_owned(), bind, pin, shared);
        let node = node.await.unwrap();
        // Both changes are in the queue before the node handles the first one.
        for _ in 0..50 {
            let (bound, removed) = (node.listen(vec![8080]), node.listen(Vec::new()));
            bound.await.unwrap();
            removed.await.unwrap();
        }
        let again = [
            node.listen(vec![8080]),
            node.listen(vec![8081]),
            node.listen(vec![8080]),
        ];
        for change in again {
            change.await.unwrap();
        }
        node.stop(Duration::ZERO).await;
    }
}
