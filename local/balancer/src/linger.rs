//! Closing a connection in stages (RFC 9112 §9.6).
//!
//! If bytes from the client are unread when a socket closes, the kernel sends a reset. A reset makes the client lose
//! the part of the response that it has not read yet. So the balancer shuts down its side after the last response,
//! and reads and drops the client's bytes for a while.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest silence of a client during this time; nginx's `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);
/// The limit on the whole time; nginx's `lingering_time`.
const TOTAL: Duration = Duration::from_secs(30);

/// Closes a connection. `unfinished`: the client may still be sending.
pub(super) async fn close(mut stream: TcpStream, unfinished: bool) {
    // This fails only on a connection that is already closed.
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut sink = [0; 4096];
    if !unfinished {
        // The next request may have arrived; nobody will read it.
        match stream.try_read(&mut sink) {
            Ok(0) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    drain(&mut stream).await;
}

async fn drain(stream: &mut TcpStream) {
    let reading = async {
        let mut sink = [0; 4096];
        while let Ok(Ok(1..)) = timeout(SILENCE, stream.read(&mut sink)).await {}
    };
    // A client that does not stop gets the reset.
    let _ = timeout(TOTAL, reading).await;
}
