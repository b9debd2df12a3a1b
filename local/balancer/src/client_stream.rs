//! The client side of a connection: it passes one message at a time to the HTTP parser, and complete heads only.
//!
//! [`head::scan`] checks a head before the parser gets it. The parser never sees a faulty head. It gets a stand-in,
//! and the [`Meter`] holds the reason. So one place answers all refused requests, in the order of the pipeline.
//!
//! In the usual case, one request in one read, this module copies and allocates nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::bytes::BytesMut;

use super::chunks::Chunks;
use super::fault::Fault;
use super::head::{self, Head, MAX_HEAD, MAX_LINE};
use super::meter::{BodyLength, Meter, Phase};
use super::small_write;

/// The stand-in for a faulty request.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// The next bytes for the parser.
enum Stage {
    /// A head that is not complete yet.
    Head,
    /// This many bytes of a held head.
    Deliver(usize),
    /// The parser has a head. The length of its body is known after the parser has read it.
    Parsed,
    Sized(u64),
    Chunked(Chunks),
    /// Nothing: the stand-in of a faulty request was the last message.
    Refused,
    /// All bytes.
    Tunnel,
}

/// A client's TCP stream.
pub(super) struct ClientStream {
    stream: TcpStream,
    meter: Arc<Meter>,
    /// Bytes of the stream that the parser has not received.
    held: BytesMut,
    /// The start of the last, unfinished line of a held head.
    line: usize,
    stage: Stage,
    /// The deadline for the rest of a partly received head.
    deadline: Option<Pin<Box<Sleep>>>,
    head_timeout: Duration,
    refused: bool,
}

impl ClientStream {
    /// A head must be complete within `head_timeout` of its first byte.
    pub(super) fn new(stream: TcpStream, meter: Arc<Meter>, head_timeout: Duration) -> Self {
        Self {
            stream,
            meter,
            held: BytesMut::new(),
            line: 0,
            stage: Stage::Head,
            deadline: None,
            head_timeout,
            refused: false,
        }
    }

    /// Ready when the parser has work; `false` when the client has closed.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.stage {
            Stage::Head => self.poll_held_head(cx),
            _ => Poll::Ready(Ok(true)),
        }
    }

    /// Returns to waiting for a head. Returns whether that is possible: between two requests, without a byte of the
    /// next one.
    pub(super) fn park(&mut self) -> bool {
        if matches!(self.stage, Stage::Parsed)
            && !self.refused
            && self.meter.body_length() == Some(BodyLength::Sized(0))
        {
            self.stage = Stage::Head;
        }
        matches!(self.stage, Stage::Head) && self.held.is_empty()
    }

    /// Whether the client may still be sending bytes that nobody reads.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.held.is_empty() || !matches!(self.stage, Stage::Head | Stage::Parsed) || self.refused
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads until it holds a complete head, or a stand-in for a faulty one; `false` at the end of the stream.
    fn poll_held_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut look = true;
        loop {
            if look {
                while self.held.starts_with(b"\r\n") {
                    self.held.advance(2);
                }
                match head::scan(&self.held) {
                    Head::Partial => {}
                    Head::Complete { len, encode } => {
                        self.deliver(len, encode);
                        return Poll::Ready(Ok(true));
                    }
                    Head::Faulty(fault) => {
                        self.refuse(fault);
                        return Poll::Ready(Ok(true));
                    }
                }
                self.line = self
                    .held
                    .iter()
                    .rposition(|&b| b == b'\n')
                    .map_or(0, |at| at + 1);
            }
            if !self.held.is_empty() && self.poll_deadline(cx).is_ready() {
                self.refuse(Fault::SlowHead);
                return Poll::Ready(Ok(true));
            }
            let before = self.held.len();
            let stream = Pin::new(&mut self.stream);
            let n = ready!(tokio_util::io::poll_read_buf(stream, cx, &mut self.held))?;
            if n == 0 {
                return Poll::Ready(Ok(false));
            }
            self.meter.moved();
            // Without this, a head that arrives byte by byte would be scanned for each byte.
            look = self.held[before..].contains(&b'\n')
                || self.held.len() - self.line > MAX_LINE
                || self.held.len() > MAX_HEAD;
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.head_timeout;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        while deadline.as_mut().poll(cx).is_ready() {
            if self.meter.phase() == Phase::Request {
                return Poll::Ready(());
            }
            // The previous response is still being sent, so the client need not have sent this head yet.
            deadline.as_mut().reset(Instant::now() + timeout);
        }
        Poll::Pending
    }

    fn deliver(&mut self, len: usize, encode: Option<(usize, usize)>) {
        let mut len = len;
        if let Some(target) = encode {
            let head = head::encoded(&self.held[..len], target);
            let rest = self.held.split_off(len);
            len = head.len();
            self.held = BytesMut::from(Bytes::from(head));
            self.held.extend_from_slice(&rest);
        }
        self.stage = Stage::Deliver(len);
        self.deadline = None;
        self.line = 0;
    }

    fn refuse(&mut self, fault: Fault) {
        self.meter.set_fault(fault);
        self.held = BytesMut::from(STAND_IN);
        self.refused = true;
        self.deliver(STAND_IN.len(), None);
    }

    /// Passes on held bytes, or else reads from the stream. At most `limit` bytes of the held ones.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        limit: usize,
    ) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            let n = limit.min(self.held.len()).min(buf.remaining());
            buf.put_slice(&self.held.split_to(n));
            if self.held.is_empty() {
                // An idle connection keeps no buffer.
                self.held = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() != before {
            self.meter.moved();
        }
        Poll::Ready(Ok(()))
    }

    /// Holds the bytes that were read beyond the end of a message.
    fn keep_back(&mut self, buf: &mut ReadBuf<'_>, end: usize) {
        if buf.filled().len() > end {
            let rest = BytesMut::from(&buf.filled()[end..]);
            let later = std::mem::replace(&mut self.held, rest);
            self.held.extend_from_slice(&later);
            buf.set_filled(end);
        }
    }

    /// Passes a head that arrives in one read to the parser without copying. Returns whether the parser has it.
    fn poll_direct_head(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(self.poll_some(cx, buf, usize::MAX))?;
        let new = &buf.filled()[before..];
        if new.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if let Head::Complete { len, encode: None } = head::scan(new) {
            self.stage = Stage::Parsed;
            self.keep_back(buf, before + len);
            return Poll::Ready(Ok(true));
        }
        self.keep_back(buf, before);
        Poll::Ready(Ok(false))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.meter.is_tunnel() {
            this.stage = Stage::Tunnel;
        }
        let before = buf.filled().len();
        loop {
            match &mut this.stage {
                Stage::Head => {
                    if this.held.is_empty() && ready!(this.poll_direct_head(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                    if !ready!(this.poll_held_head(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                &mut Stage::Deliver(left) => {
                    ready!(this.poll_some(cx, buf, left))?;
                    this.stage = match left - (buf.filled().len() - before) {
                        0 if this.refused => Stage::Refused,
                        0 => Stage::Parsed,
                        left => Stage::Deliver(left),
                    };
                    return Poll::Ready(Ok(()));
                }
                Stage::Parsed => match this.meter.take_body_length() {
                    Some(BodyLength::Sized(0)) => this.stage = Stage::Head,
                    Some(BodyLength::Sized(length)) => this.stage = Stage::Sized(length),
                    Some(BodyLength::Chunked) => this.stage = Stage::Chunked(Chunks::default()),
                    // The parser and the scan disagree about the end of the head, so the stream ends here.
                    None => return Poll::Ready(Ok(())),
                },
                &mut Stage::Sized(left) => {
                    let limit = usize::try_from(left).unwrap_or(usize::MAX);
                    ready!(this.poll_some(cx, buf, limit))?;
                    let n = limit.min(buf.filled().len() - before);
                    this.keep_back(buf, before + n);
                    this.stage = match left - n as u64 {
                        0 => Stage::Head,
                        left => Stage::Sized(left),
                    };
                    return Poll::Ready(Ok(()));
                }
                Stage::Chunked(_) => {
                    ready!(this.poll_some(cx, buf, usize::MAX))?;
                    let Stage::Chunked(chunks) = &mut this.stage else {
                        return Poll::Ready(Ok(()));
                    };
                    let Ok(n) = chunks.feed(&buf.filled()[before..]) else {
                        let why = "the request's body is not chunked as it says";
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                    };
                    if chunks.is_end() {
                        this.stage = Stage::Head;
                    }
                    this.keep_back(buf, before + n);
                    return Poll::Ready(Ok(()));
                }
                Stage::Refused => return Poll::Pending,
                Stage::Tunnel => return this.poll_some(cx, buf, usize::MAX),
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.meter.set_unflushed(true);
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.meter.moved();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.meter.set_unflushed(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.meter.set_unflushed(true);
        let n = ready!(small_write::poll_write_vectored(
            Pin::new(&mut self.stream),
            cx,
            bufs
        ))?;
        self.meter.moved();
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
