//! Requests the health path of a service from this machine, like a client.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The service answered with this status.
    Status(u16),
    /// No answer in time: packets are lost on the way.
    Silence,
    /// The connection was refused.
    Refused,
    /// The connection ended without a response; the text says how.
    Violation(String),
}

/// Requests a path.
pub(super) async fn ask(
    door: SocketAddr,
    host: &str,
    path: &str,
    request_timeout: Duration,
) -> Answer {
    match timeout(request_timeout, get(door, host, path)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Silence,
    }
}

async fn get(door: SocketAddr, host: &str, path: &str) -> Answer {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    let stream = match TcpStream::connect(door).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ConnectionRefused => return Answer::Refused,
        Err(error)
            if matches!(
                error.kind(),
                HostUnreachable | NetworkUnreachable | TimedOut
            ) =>
        {
            return Answer::Silence;
        }
        Err(error) => return Answer::Violation(error.to_string()),
    };
    let no_answer = |error: hyper::Error| Answer::Violation(error.to_string());
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = match handshake {
        Ok(pair) => pair,
        Err(error) => return no_answer(error),
    };
    let request = Request::get(path)
        .header("host", host)
        .header(
            "user-agent",
            concat!("landfall/", env!("CARGO_PKG_VERSION")),
        )
        .header("connection", "close")
        .body(Empty::<Bytes>::new());
    let request = match request {
        Ok(request) => request,
        // The checks of the file allow only printable ASCII here.
        Err(error) => return Answer::Violation(error.to_string()),
    };
    // The connection is driven during the wait, and dropped with it.
    let asked = sender.send_request(request);
    tokio::pin!(asked, connection);
    tokio::select! {
        answer = &mut asked => match answer {
            Ok(response) => Answer::Status(response.status().as_u16()),
            Err(error) => no_answer(error),
        },
        ended = &mut connection => match (ended, asked.await) {
            (_, Ok(response)) => Answer::Status(response.status().as_u16()),
            (Err(error), _) | (Ok(()), Err(error)) => no_answer(error),
        },
    }
}

/// Whether a matcher such as `200,302` or `200-299` accepts a status.
pub(super) fn is_good(matcher: &str, status: u16) -> bool {
    matcher.split(',').any(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let bounds = from.parse::<u16>().ok().zip(to.parse::<u16>().ok());
        bounds.is_some_and(|(from, to)| (from..=to).contains(&status))
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_matcher_means_codes_and_ranges() {
        for (matcher, status, good) in [
            ("200", 200, true),
            ("200", 204, false),
            ("200,302", 302, true),
            ("200-299,302", 250, true),
            ("200-299", 300, false),
        ] {
            assert_eq!(is_good(matcher, status), good, "{matcher} {status}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_told_from_silence_and_refusal() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let serve = tokio::spawn(async move {
            for answer in ["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ""] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                let read = stream.read(&mut asked).await.unwrap();
                let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
                assert!(asked.starts_with("GET /up HTTP/1.1\r\n"), "{asked}");
                assert!(asked.contains("host: shop.localhost\r\n"), "{asked}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            // A connection that is accepted and never answered.
            let kept = listener.accept().await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(kept);
        });
        let request_timeout = Duration::from_secs(20);
        let asked = |request_timeout| ask(here, "shop.localhost", "/up", request_timeout);
        assert_eq!(asked(request_timeout).await, Answer::Status(503));
        assert!(matches!(asked(request_timeout).await, Answer::Violation(_)));
        assert_eq!(asked(Duration::from_millis(100)).await, Answer::Silence);
        serve.abort();
        let _ = serve.await;
        assert_eq!(asked(request_timeout).await, Answer::Refused);
    }
}
