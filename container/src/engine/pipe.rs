//! Bridges between blocking readers and writers of archives and the engine's asynchronous streams.
//!
//! Only a few chunks are in flight at a time, so an archive is never held in memory, and the faster
//! side waits.

use std::io::{self, Read, Write};

use futures::{Stream, StreamExt as _};
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;

/// Large enough that the hand-over cost is negligible.
const CHUNK: usize = 64 * 1024;

/// The maximum number of waiting chunks.
const IN_FLIGHT: usize = 8;

/// A writer for a blocking thread, and its output as the frames of a request body.
///
/// Writing fails with [`io::ErrorKind::BrokenPipe`] once the body has been dropped.
pub(super) fn body() -> (
    ChunkWriter,
    impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static,
) {
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(IN_FLIGHT);
    let frames = futures::stream::poll_fn(move |context| receiver.poll_recv(context))
        .map(|chunk| chunk.map(Frame::data));
    let writer = ChunkWriter {
        buffer: Vec::with_capacity(CHUNK),
        sender,
    };
    (writer, frames)
}

/// The writing end of [`body`].
pub(super) struct ChunkWriter {
    buffer: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl ChunkWriter {
    /// Ends the body with an error, so that the engine does not take an incomplete archive for a
    /// complete one.
    pub(super) fn fail(self) {
        // Nothing to do when the request is already gone.
        let _ = self
            .sender
            .blocking_send(Err(io::Error::other("the build context could not be read")));
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The sending end for an asynchronous task, and a reader for a blocking thread.
///
/// The reader ends when the sender is dropped.
pub(super) fn reader() -> (mpsc::Sender<io::Result<Bytes>>, ChunkReader) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let reader = ChunkReader {
        chunk: Bytes::new(),
        receiver,
    };
    (sender, reader)
}

/// The reading end of [`reader`].
pub(super) struct ChunkReader {
    chunk: Bytes,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_arrives_whole_and_in_order() {
        let (mut writer, frames) = body();
        let text: Vec<u8> = (0..CHUNK * 20 + 7).map(|i| (i % 251) as u8).collect();
        let expected = text.clone();
        let writing = tokio::task::spawn_blocking(move || {
            for part in text.chunks(1000) {
                writer.write_all(part)?;
            }
            writer.flush()
        });
        let (sender, mut reader) = reader();
        let reading = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        let mut frames = std::pin::pin!(frames);
        while let Some(frame) = frames.next().await {
            sender
                .send(Ok(frame.unwrap().into_data().unwrap()))
                .await
                .unwrap();
        }
        drop(sender);
        writing.await.unwrap().unwrap();
        assert!(reading.await.unwrap().unwrap() == expected);
    }

    #[tokio::test]
    async fn dropped_body_breaks_the_pipe() {
        let (mut writer, frames) = body();
        drop(frames);
        let error = tokio::task::spawn_blocking(move || writer.write_all(&vec![0; CHUNK]))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);

        let (sender, mut reader) = reader();
        sender.send(Err(io::Error::other("lost"))).await.unwrap();
        let error =
            tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()).unwrap_err())
                .await
                .unwrap();
        assert_eq!(error.to_string(), "lost");
    }
}
