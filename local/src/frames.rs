//! The frames on the connection of a running command: a kind and bytes.
//!
//! After the answer to a [`Call::Exec`](crate::wire::Call::Exec) the connection carries frames both ways until the
//! command has ended: a length of four bytes, a byte for the kind, and the rest.

use std::io;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::bytes::{BufMut, Bytes, BytesMut};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// The maximum size of a frame's data, in bytes.
pub(crate) const CHUNK: usize = 32 * 1024;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Input for the command.
    Input(Bytes),
    /// The end of the input.
    InputEnds,
    /// The new size of the command's terminal.
    Resize { columns: u16, rows: u16 },
    /// The number of a signal for the command.
    Signal(u8),
    /// Bytes that the command wrote to standard output, or to its terminal.
    Output(Bytes),
    /// Bytes that it wrote to standard error.
    Errors(Bytes),
    /// It has exited with this code; after a signal, 128 plus the signal's number, as in shells.
    Exited(u8),
}

impl Frame {
    fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        match self {
            Self::Input(bytes) => {
                buffer.put_u8(0);
                buffer.put_slice(bytes);
            }
            Self::InputEnds => buffer.put_u8(1),
            Self::Resize { columns, rows } => {
                buffer.put_u8(2);
                buffer.put_u16(*columns);
                buffer.put_u16(*rows);
            }
            Self::Signal(number) => buffer.put_slice(&[3, *number]),
            Self::Output(bytes) => {
                buffer.put_u8(4);
                buffer.put_slice(bytes);
            }
            Self::Errors(bytes) => {
                buffer.put_u8(5);
                buffer.put_slice(bytes);
            }
            Self::Exited(code) => buffer.put_slice(&[6, *code]),
        }
        buffer.freeze()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match (kind, rest) {
            (0, _) => Self::Input(bytes.slice(1..)),
            (1, []) => Self::InputEnds,
            (2, &[c1, c0, r1, r0]) => Self::Resize {
                columns: u16::from_be_bytes([c1, c0]),
                rows: u16::from_be_bytes([r1, r0]),
            },
            (3, &[number]) => Self::Signal(number),
            (4, _) => Self::Output(bytes.slice(1..)),
            (5, _) => Self::Errors(bytes.slice(1..)),
            (6, &[code]) => Self::Exited(code),
            _ => return None,
        })
    }
}

/// Writes frames.
#[derive(Debug)]
pub(crate) struct FrameWriter<W>(FramedWrite<W, LengthDelimitedCodec>);

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self(FramedWrite::new(writer, LengthDelimitedCodec::new()))
    }

    pub(crate) async fn send(&mut self, frame: Frame) -> io::Result<()> {
        self.0.send(frame.encode()).await
    }
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R>(FramedRead<R, LengthDelimitedCodec>);

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self(FramedRead::new(reader, LengthDelimitedCodec::new()))
    }

    /// The next frame; `None` at the end. Dropping the future while it waits loses no data.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some(bytes) = self.0.next().await.transpose()? else {
            return Ok(None);
        };
        let strange = || io::Error::new(io::ErrorKind::InvalidData, "a frame of no known kind");
        Frame::decode(&bytes.freeze()).map(Some).ok_or_else(strange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_frame_arrives_as_it_was_sent() {
        let frames = [
            Frame::Input(Bytes::from_static(b"in")),
            Frame::Input(Bytes::new()),
            Frame::InputEnds,
            Frame::Resize {
                columns: 300,
                rows: 24,
            },
            Frame::Signal(2),
            Frame::Output(Bytes::from_static(b"\0out\n")),
            Frame::Errors(Bytes::from_static(b"err")),
            Frame::Exited(127),
        ];
        let (here, there) = tokio::io::duplex(64);
        let mut writer = FrameWriter::new(here);
        let mut reader = FrameReader::new(there);
        for frame in frames {
            writer.send(frame.clone()).await.unwrap();
            assert_eq!(reader.next().await.unwrap(), Some(frame));
        }
        drop(writer);
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        let bytes: &[u8] = &[0, 0, 0, 2, 9, 9];
        let error = FrameReader::new(bytes).next().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
