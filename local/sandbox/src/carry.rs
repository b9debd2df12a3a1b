//! Copies the streams of a further command from and to its caller.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::bytes::{Bytes, BytesMut};

use super::Exit;

/// The maximum number of bytes in one step.
const CHUNK: usize = 32 * 1024;

/// How long the output of an ended command may stay silent before it counts as ended. A process that the command
/// started may keep it open for ever.
const LINGER: Duration = Duration::from_millis(500);

/// Passes on the output of a command, until it ends or has no receiver.
pub async fn pump<F: Future<Output = bool>>(
    mut stream: pipe::Receiver,
    exited: impl Future<Output = Exit>,
    mut take: impl FnMut(Bytes) -> F,
) {
    let mut buffer = BytesMut::new();
    let mut has_ended = false;
    tokio::pin!(exited);
    loop {
        buffer.reserve(CHUNK);
        let read = tokio::select! {
            // Pending output is passed on before the end.
            biased;
            read = stream.read_buf(&mut buffer) => read,
            _ = &mut exited, if !has_ended => {
                has_ended = true;
                continue;
            }
            () = tokio::time::sleep(LINGER), if has_ended => return,
        };
        // A terminal without users returns an error.
        if !matches!(read, Ok(1..)) || !take(buffer.split().freeze()).await {
            return;
        }
    }
}

/// The input of a command that the command has not read yet.
#[derive(Debug)]
pub struct Feed {
    /// `None` at the end of the input, or for a command without input.
    queue: Option<mpsc::UnboundedSender<(Bytes, OwnedSemaphorePermit)>>,
    room: Arc<Semaphore>,
}

impl Feed {
    /// Feeds a command; up to this many bytes wait in memory.
    pub fn new(input: Option<pipe::Sender>, room: usize) -> Self {
        let queue = input.map(|mut input| {
            let (queue, mut queued) = mpsc::unbounded_channel::<(Bytes, OwnedSemaphorePermit)>();
            tokio::spawn(async move {
                while let Some((bytes, _room)) = queued.recv().await {
                    // A command that stops reading gets no more input.
                    if input.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
            queue
        });
        Self {
            queue,
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// Adds input; waits for room.
    pub async fn give(&self, bytes: Bytes) {
        let Some(queue) = &self.queue else {
            return;
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let Ok(room) = Arc::clone(&self.room).acquire_many_owned(length).await {
            // An ended command needs no input.
            let _ = queue.send((bytes, room));
        }
    }

    /// Ends the input.
    pub fn end(&mut self) {
        self.queue = None;
    }
}

/// The exit code as in shells: for a signal, 128 and its number.
pub fn shell_code(exit: Exit) -> u8 {
    let number = match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    };
    u8::try_from(number).unwrap_or(u8::MAX)
}
