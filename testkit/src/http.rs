//! A minimal HTTP client for tests: one request, one connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The time limit of a test's request.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, with joined chunks.
    pub body: String,
}

/// Requests a URL under `.localhost` over IPv4 loopback; `path` replaces the URL's own.
///
/// # Errors
/// When no server answers, or not in HTTP.
pub fn get(url: &str, path: &str) -> io::Result<Answer> {
    ask("GET", url, path, "")
}

/// Posts a body to the same address as [`get`].
///
/// # Errors
/// As [`get`].
pub fn post(url: &str, path: &str, body: &str) -> io::Result<Answer> {
    ask("POST", url, path, body)
}

fn ask(method: &str, url: &str, path: &str, body: &str) -> io::Result<Answer> {
    let authority = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split('/').next());
    let authority = authority.ok_or_else(|| io::Error::other(format!("{url} is no http URL")))?;
    let port = authority.rsplit_once(':').map_or("80", |(_, port)| port);
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), WAIT_TIMEOUT)?;
    stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let strange = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("this is no HTTP: {answer:?}"),
        )
    };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(strange)?;
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Ok(Answer {
        status,
        body: if chunked {
            joined(body)
        } else {
            body.to_owned()
        },
    })
}

fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        body.push_str(chunk);
        chunks = rest[size..].trim_start_matches("\r\n");
    }
    body
}
