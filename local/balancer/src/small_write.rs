//! Writes of several small buffers with one plain `send`.
//!
//! A message is usually a head and a short body in two buffers. The kernel handles one buffer faster than a vector of
//! two, and copying a few hundred bytes costs less than the difference.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// The most bytes that are copied.
const MAX_COPY: usize = 1024;

/// Writes the buffers, or the part of them that the socket accepts.
pub(super) fn poll_write_vectored(
    stream: Pin<&mut TcpStream>,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [buf] = bufs {
        return stream.poll_write(cx, buf);
    }
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    if total > MAX_COPY {
        return stream.poll_write_vectored(cx, bufs);
    }
    let mut copy = [0; MAX_COPY];
    let mut free = &mut copy[..];
    for buf in bufs {
        let (front, rest) = free.split_at_mut(buf.len());
        front.copy_from_slice(buf);
        free = rest;
    }
    stream.poll_write(cx, &copy[..total])
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn buffers_of_every_size_arrive_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut to = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut from, _) = listener.accept().await.unwrap();
        for sizes in [
            &[7][..],
            &[300, 12],
            &[0, 5, 0],
            &[MAX_COPY - 1, 1],
            &[MAX_COPY, 1],
        ] {
            let parts: Vec<Vec<u8>> = (1..).zip(sizes).map(|(n, &size)| vec![n; size]).collect();
            let bufs: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let written = poll_fn(|cx| poll_write_vectored(Pin::new(&mut to), cx, &bufs)).await;
            assert_eq!(written.unwrap(), sizes.iter().sum::<usize>());
            let mut arrived = vec![0; parts.concat().len()];
            from.read_exact(&mut arrived).await.unwrap();
            assert_eq!(arrived, parts.concat());
        }
    }
}
