//! A further command's streams, carried to and from whoever it was started for.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::bytes::{Bytes, BytesMut};

use super::Exit;

/// The most bytes that are handed on at once.
const CHUNK: usize = 32 * 1024;

/// How long nothing may come from a command that has ended before its output is taken for ended too: something
/// that it has started may hold it open for ever.
const LINGER: Duration = Duration::from_millis(500);

/// Hands on what a command writes, until that ends or nobody takes it.
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
            // What is there comes before the news that there will be no more.
            biased;
            read = stream.read_buf(&mut buffer) => read,
            _ = &mut exited, if !has_ended => {
                has_ended = true;
                continue;
            }
            () = tokio::time::sleep(LINGER), if has_ended => return,
        };
        // A terminal whose last user is gone answers with an error.
        if !matches!(read, Ok(1..)) || !take(buffer.split().freeze()).await {
            return;
        }
    }
}

/// What a command is to read, as far as it has not read it yet.
#[derive(Debug)]
pub struct Feed {
    /// None once there is nothing more to read, or for a command that reads nothing.
    queue: Option<mpsc::UnboundedSender<(Bytes, OwnedSemaphorePermit)>>,
    room: Arc<Semaphore>,
}

impl Feed {
    /// Feeds a command, of which so many bytes may wait.
    pub fn new(input: Option<pipe::Sender>, room: usize) -> Self {
        let queue = input.map(|mut input| {
            let (queue, mut queued) = mpsc::unbounded_channel::<(Bytes, OwnedSemaphorePermit)>();
            tokio::spawn(async move {
                while let Some((bytes, _room)) = queued.recv().await {
                    // A command that reads no more is fed no more.
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

    /// Gives it more to read; waits until there is room for it.
    pub async fn give(&self, bytes: Bytes) {
        let Some(queue) = &self.queue else {
            return;
        };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let Ok(room) = Arc::clone(&self.room).acquire_many_owned(length).await {
            // One that has ended needs nothing.
            let _ = queue.send((bytes, room));
        }
    }

    /// Says that there is nothing more.
    pub fn end(&mut self) {
        self.queue = None;
    }
}

/// An exit as shells tell it: 128 and the number of the signal that it was.
pub fn shell_code(exit: Exit) -> u8 {
    let number = match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    };
    u8::try_from(number).unwrap_or(u8::MAX)
}
