//! The TCP stream to a target, which reports its bytes to a [`Meter`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::meter::Meter;
use super::small_write;

/// The TCP stream to a target, with a [`Meter`].
///
/// A target may respond and close while the request is still being sent (RFC 9112 §9.5). So a failed write does not
/// end the connection: later writes are dropped, and reading shows the result.
pub(super) struct TargetStream {
    stream: TcpStream,
    meter: Arc<Meter>,
    write_failed: bool,
}

impl TargetStream {
    pub(super) fn new(stream: TcpStream, meter: Arc<Meter>) -> Self {
        Self {
            stream,
            meter,
            write_failed: false,
        }
    }

    fn written(&mut self, result: io::Result<usize>, wanted: usize) -> io::Result<usize> {
        match result {
            Ok(n) => {
                self.meter.write();
                Ok(n)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    self.write_failed = true;
                    Ok(wanted)
                }
                _ => Err(error),
            },
        }
    }
}

impl AsyncRead for TargetStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match this.meter.read_limit() {
            Some(0) => {
                // This is not an error: the bytes read so far may contain the final response. The task that drives
                // this connection checks.
                this.meter.begin_turn();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(limit) => {
                ready!(Pin::new(&mut (&mut this.stream).take(limit)).poll_read(cx, buf))?
            }
            None => ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?,
        }
        let new = buf.filled().len() - before;
        if new != 0 {
            this.meter.receive(new as u64);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_failed {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.written(result, buf.len()))
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
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        if self.write_failed {
            return Poll::Ready(Ok(wanted));
        }
        let result = ready!(small_write::poll_write_vectored(
            Pin::new(&mut self.stream),
            cx,
            bufs
        ));
        Poll::Ready(self.written(result, wanted))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::super::meter::{MAX_BEFORE_RESPONSE, TURN};
    use super::*;

    #[tokio::test]
    async fn awaited_responses_are_read_in_turns_up_to_the_limit() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (mut target, _) = listener.accept().await.unwrap();
        let flood =
            tokio::spawn(async move { while target.write_all(&[0; 65536]).await.is_ok() {} });
        let meter = Arc::new(Meter::default());
        meter.await_response();
        let mut io = TargetStream::new(stream.unwrap(), Arc::clone(&meter));
        while !meter.is_over() {
            let read = std::future::poll_fn(|cx| {
                let before = meter.received();
                let mut bytes = [0; 4096];
                while Pin::new(&mut io)
                    .poll_read(cx, &mut ReadBuf::new(&mut bytes))
                    .is_ready()
                {}
                match meter.received() - before {
                    0 => Poll::Pending,
                    read => Poll::Ready(read),
                }
            });
            let read = read.await;
            assert!(read <= TURN, "{read}");
        }
        assert!(meter.received() <= MAX_BEFORE_RESPONSE + TURN);
        flood.abort();
    }
}
