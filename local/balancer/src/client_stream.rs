//! The client side of a connection: hands the HTTP parser one message at a time, and whole heads only.
//!
//! A head is looked at by [`head::scan`] before the parser gets it. A faulty one never reaches the parser: a
//! stand-in does, and the reason waits in the [`Meter`], so that every refusal is answered in one place and in turn,
//! wherever in a pipeline it stands.
//!
//! In the usual case, one request in one read, nothing is copied or allocated here.

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

/// What the parser gets in place of a faulty request.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// What the parser gets next.
enum Stage {
    /// A head, which has not been found whole yet.
    Head,
    /// This many bytes of a head that is held.
    Deliver(usize),
    /// The parser has a head; the length of its body is known once it has read it.
    Parsed,
    Sized(u64),
    Chunked(Chunks),
    /// Nothing: the stand-in of a faulty request was the last that it got.
    Refused,
    /// Whatever comes.
    Tunnel,
}

/// A client's TCP stream.
pub(super) struct ClientStream {
    stream: TcpStream,
    meter: Arc<Meter>,
    /// Bytes of the stream that the parser has not got.
    held: BytesMut,
    /// Where the last line of a held head begins that has not ended.
    line: usize,
    stage: Stage,
    /// When the head that is held in part has to be whole.
    deadline: Option<Pin<Box<Sleep>>>,
    head_timeout: Duration,
    refused: bool,
}

impl ClientStream {
    /// A whole head has to come within `head_timeout` of its first byte.
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

    /// Ready when the parser has something to do: `false` when the client has closed.
    pub(super) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.stage {
            Stage::Head => self.poll_held_head(cx),
            _ => Poll::Ready(Ok(true)),
        }
    }

    /// Goes back to waiting for a head. Returns whether it can, being between two requests, with no byte of the next
    /// one here.
    pub(super) fn park(&mut self) -> bool {
        if matches!(self.stage, Stage::Parsed)
            && !self.refused
            && self.meter.body_length() == Some(BodyLength::Sized(0))
        {
            self.stage = Stage::Head;
        }
        matches!(self.stage, Stage::Head) && self.held.is_empty()
    }

    /// Whether the client may still be sending what nobody reads.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.held.is_empty() || !matches!(self.stage, Stage::Head | Stage::Parsed) || self.refused
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads until a head is held whole, or a stand-in for a faulty one; `false` at the end of the stream.
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
            // A head that comes byte by byte is not looked at anew for each.
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
            // The answer before is still on its way: the client need not have sent this yet.
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

    /// Hands over held bytes, or reads from the stream: `limit` bytes at most, unless it comes in one read.
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
                // An idle connection holds no buffer.
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

    /// Keeps what was read beyond the end of a message.
    fn keep_back(&mut self, buf: &mut ReadBuf<'_>, end: usize) {
        if buf.filled().len() > end {
            let rest = BytesMut::from(&buf.filled()[end..]);
            let later = std::mem::replace(&mut self.held, rest);
            self.held.extend_from_slice(&later);
            buf.set_filled(end);
        }
    }

    /// A head in a read of its own goes to the parser as it stands. Returns whether the parser has it.
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
                    // The parser sees another end of the head than the scan did: no more of this.
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
