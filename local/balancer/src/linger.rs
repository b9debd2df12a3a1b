//! Closing a connection in stages (RFC 9112 §9.6).
//!
//! A socket that is closed while bytes from the other side wait in it answers them with a reset, and a reset takes
//! along what the other side has received and not read yet: the answer. So the last answer is followed by the end of
//! this side's stream, and what the client still sends is read and dropped for a while.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client may stay silent meanwhile; nginx's `lingering_timeout`.
const SILENCE: Duration = Duration::from_secs(5);
/// How long all of it may take; nginx's `lingering_time`.
const TOTAL: Duration = Duration::from_secs(30);

/// Closes a connection. `unfinished` when the client may still be sending.
pub(super) async fn close(mut stream: TcpStream, unfinished: bool) {
    // It can only fail on a connection that is gone already.
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut sink = [0; 4096];
    if !unfinished {
        // The next request may be here though nobody will read it.
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
    // The client gets its reset after all when it does not stop.
    let _ = timeout(TOTAL, reading).await;
}
