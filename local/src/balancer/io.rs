//! A TCP stream that reports progress, and watches client requests for conflicting framing.
//!
//! hyper follows RFC 9112 §6.3: of `Transfer-Encoding` and `Content-Length` it keeps the first and
//! forgets the second, so a target never sees both. Two different lengths of one message are still
//! a sign of request smuggling, and by the time hyper hands a request over, the sign is gone.
//! [`HeadScan`] sees the raw lines of a head as they are read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a connection is doing, shared between its stream and whoever watches it.
///
/// All users live on one thread; the atomics are there because tasks have to be `Send`.
#[derive(Default)]
pub(super) struct Meter {
    progress: AtomicBool,
    /// Bytes of a request head have come, but not all of them.
    partial_head: AtomicBool,
    /// What is read next is a request head (and not a body).
    expect_head: AtomicBool,
    framing: AtomicU8,
    phase: AtomicU8,
    /// Somebody wants more of the request's body, and the client has not sent it.
    wants_body: AtomicBool,
}

const CONTENT_LENGTH: u8 = 1;
const TRANSFER_ENCODING: u8 = 2;

/// What a client connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The client's next request.
    Request = 0,
    /// The answer's head.
    Answer = 1,
    /// The rest of the answer, on its way to the client.
    Body = 2,
}

impl Meter {
    /// Whether bytes went either way since the last call.
    pub(super) fn take_progress(&self) -> bool {
        self.progress.load(Relaxed) && self.progress.swap(false, Relaxed)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Request,
            1 => Phase::Answer,
            _ => Phase::Body,
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn has_partial_head(&self) -> bool {
        self.partial_head.load(Relaxed)
    }

    /// A request head is complete. Returns whether it had both kinds of framing.
    pub(super) fn head_done(&self, has_body: bool) -> bool {
        self.partial_head.store(false, Relaxed);
        self.expect_head.store(!has_body, Relaxed);
        self.framing.swap(0, Relaxed) == CONTENT_LENGTH | TRANSFER_ENCODING
    }

    /// The request's body has been read to its end.
    pub(super) fn body_done(&self) {
        self.expect_head.store(true, Relaxed);
        self.wants_body.store(false, Relaxed);
    }

    pub(super) fn set_wants_body(&self, wants: bool) {
        self.wants_body.store(wants, Relaxed);
    }

    pub(super) fn wants_body(&self) -> bool {
        self.wants_body.load(Relaxed)
    }
}

/// Looks at the beginnings of the lines of a request head.
///
/// A head that was pipelined into the same read as the body before it is not seen; hyper's own
/// choice then stands.
#[derive(Default)]
struct HeadScan {
    start: [u8; 18],
    len: usize,
    /// The request line has gone by, so an empty line ends the head.
    in_head: bool,
}

impl HeadScan {
    fn feed(&mut self, mut bytes: &[u8], meter: &Meter) {
        while !bytes.is_empty() {
            let newline = bytes.iter().position(|&b| b == b'\n');
            let line = &bytes[..newline.unwrap_or(bytes.len())];
            let room = self.start.len().saturating_sub(self.len).min(line.len());
            self.start[self.len..self.len + room].copy_from_slice(&line[..room]);
            self.len += room;
            let Some(newline) = newline else { return };
            bytes = &bytes[newline + 1..];
            let start = &self.start[..self.len];
            if start.is_empty() || start == b"\r" {
                if self.in_head {
                    *self = Self::default();
                    meter.expect_head.store(false, Relaxed);
                    return;
                }
            } else {
                self.in_head = true;
                let seen = match start.first() {
                    Some(b'c' | b'C') if is(start, b"content-length:") => CONTENT_LENGTH,
                    Some(b't' | b'T') if is(start, b"transfer-encoding:") => TRANSFER_ENCODING,
                    _ => 0,
                };
                if seen != 0 {
                    meter.framing.fetch_or(seen, Relaxed);
                }
            }
            self.len = 0;
        }
    }
}

fn is(line: &[u8], name: &[u8]) -> bool {
    line.len() >= name.len() && line[..name.len()].eq_ignore_ascii_case(name)
}

/// A TCP stream with a [`Meter`].
pub(super) struct Io {
    stream: TcpStream,
    meter: Arc<Meter>,
    scan: Option<HeadScan>,
}

impl Io {
    /// The side where requests come in.
    pub(super) fn client(stream: TcpStream, meter: Arc<Meter>) -> Self {
        meter.expect_head.store(true, Relaxed);
        Self {
            stream,
            meter,
            scan: Some(HeadScan::default()),
        }
    }

    /// The side where requests go out.
    pub(super) fn upstream(stream: TcpStream, meter: Arc<Meter>) -> Self {
        Self {
            stream,
            meter,
            scan: None,
        }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        if !new.is_empty() {
            this.meter.progress.store(true, Relaxed);
            if let Some(scan) = &mut this.scan
                && this.meter.expect_head.load(Relaxed)
            {
                this.meter.partial_head.store(true, Relaxed);
                scan.feed(new, &this.meter);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.meter.progress.store(true, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.meter.progress.store(true, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
