//! One request to an engine, answered by a stream of JSON messages.
//!
//! The engine's client library is not used for this: it cannot decode BuildKit's messages without a
//! gRPC stack that would take a third of the program's compile time.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::address::Address;

/// The time limit for a connection to an engine.
const CONNECT: Duration = Duration::from_secs(10);

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The engine accepts no connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Lost(#[source] hyper::Error),
    /// The engine refused the request.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The engine's message.
        message: String,
    },
    /// The engine sent an invalid JSON message.
    #[error("the engine sent \"{0}\", which is no message")]
    Nonsense(String),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(address: &Address) -> io::Result<Box<dyn Stream>> {
    match address {
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        #[cfg(windows)]
        Address::Pipe(path) => {
            let path = path.replace('/', "\\");
            let pipe = tokio::net::windows::named_pipe::ClientOptions::new().open(path)?;
            Ok(Box::new(pipe))
        }
        Address::Tcp(authority) => Ok(Box::new(tokio::net::TcpStream::connect(authority).await?)),
        #[cfg(unix)]
        Address::Pipe(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "named pipes exist on Windows only",
        )),
        #[cfg(windows)]
        Address::Unix(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "engines on Windows listen on named pipes",
        )),
    }
}

/// Connects and disconnects; returns the reason if that fails.
pub(super) async fn knock(address: &Address) -> io::Result<()> {
    connect(address).await.map(drop)
}

/// The messages of an answer, as they arrive. Dropping it closes the connection, which makes the
/// engine stop.
pub(super) struct Messages {
    body: Incoming,
    pending: Vec<u8>,
    _connection: Connection,
}

/// The task that drives a connection; it is aborted with this value.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends `request` and waits for the head of the answer.
pub(super) async fn send<B>(address: &Address, request: Request<B>) -> Result<Messages, Failure>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::time::timeout(CONNECT, connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(Failure::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Failure::Lost)?;
    let connection = Connection(tokio::spawn(async move {
        // Errors here are also reported by the request and its body.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(Failure::Lost)?;
    let status = response.status();
    if !status.is_success() {
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(Failure::Lost)?
            .to_bytes();
        return Err(Failure::Refused {
            status,
            message: refusal(&body),
        });
    }
    Ok(Messages {
        body: response.into_body(),
        pending: Vec::new(),
        _connection: connection,
    })
}

/// The message of an unsuccessful answer: `{"message": "…"}`, or any text.
fn refusal(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message.trim().to_owned(),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

impl Messages {
    /// The next message; `None` at the end.
    pub(super) async fn next<T: for<'de> Deserialize<'de>>(
        &mut self,
    ) -> Result<Option<T>, Failure> {
        loop {
            // One message per line, in Docker and in Podman.
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return decode(&line).map(Some);
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(Failure::Lost)?.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
                None if self.pending.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => return decode(&std::mem::take(&mut self.pending)).map(Some),
            }
        }
    }
}

fn decode<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(line).map_err(|_| {
        let text = String::from_utf8_lossy(line);
        Failure::Nonsense(text.trim().chars().take(200).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_in_the_engines_words() {
        assert_eq!(
            refusal(br#"{"message":"no such image: x\n"}"#),
            "no such image: x"
        );
        assert_eq!(refusal(b"404 page not found\n"), "404 page not found");
    }

    #[test]
    fn what_is_no_message_is_quoted() {
        let error = decode::<serde_json::Value>(b"<html>").unwrap_err();
        assert!(error.to_string().contains("<html>"), "{error}");
    }
}
