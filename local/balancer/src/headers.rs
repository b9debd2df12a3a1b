//! What a proxy changes in the headers that pass through it.
//!
//! Source: RFC 9110 §7.6.1 for hop-by-hop fields; "HTTP headers and Application Load Balancers" and
//! "Request tracing" in the Elastic Load Balancing user guide for those that are added.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const ROOT: &str = "Root=";
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Takes out what belongs to one connection only. Returns the protocol that the sender wants to
/// change to, if any.
///
/// One look over the names decides whether anything has to be done, because mostly little has.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let (mut connection, mut others) = (false, false);
    for name in headers.keys() {
        connection |= *name == CONNECTION;
        others |= *name == TE
            || *name == TRANSFER_ENCODING
            || *name == UPGRADE
            || *name == KEEP_ALIVE
            || *name == PROXY_CONNECTION;
    }
    if !connection && !others {
        return None;
    }
    let upgrade = headers.remove(UPGRADE);
    let mut wants_upgrade = false;
    if connection {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect();
        for name in named {
            if name == UPGRADE {
                wants_upgrade = true;
            // A sender must not talk a proxy out of what decides where a message ends or goes.
            } else if !matches!(name.as_str(), "close" | "content-length" | "host") {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    if others {
        for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING] {
            headers.remove(name);
        }
    }
    upgrade.filter(|_| wants_upgrade)
}

/// How the end of a target's response is found (RFC 9112 §6.3): `Transfer-Encoding` decides, and a `Content-Length`
/// beside it is dropped. `false` for a coding other than `chunked`, which nobody behind this could undo.
pub(super) fn settle_framing(headers: &mut HeaderMap) -> bool {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return true;
    }
    headers.remove(CONTENT_LENGTH);
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = codings.next().is_some_and(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    });
    chunked && codings.next().is_none()
}

/// Takes out the fields that only HTTP/2 upgrades and interim responses use: the balancer speaks
/// HTTP/1.1 on both sides and answers `Expect` itself.
pub(super) fn strip_request_only(headers: &mut HeaderMap) {
    headers.remove(EXPECT);
    headers.remove(HTTP2_SETTINGS);
}

/// Asks for a change of protocol.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Takes out fields whose names have other characters than letters, digits and hyphens.
pub(super) fn drop_invalid(headers: &mut HeaderMap) {
    let valid = |name: &HeaderName| {
        name.as_str()
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if headers.keys().all(valid) {
        return;
    }
    let invalid: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !valid(name))
        .cloned()
        .collect();
    for name in invalid {
        headers.remove(name);
    }
}

/// What a client connection adds to each of its requests.
pub(super) struct Forwarded {
    peer: HeaderValue,
    port: HeaderValue,
    trace: AtomicU64,
}

impl Forwarded {
    /// For a client at this address, on a listener of this port.
    pub(super) fn new(peer: std::net::IpAddr, port: u16) -> Self {
        let text = |text: String| {
            HeaderValue::try_from(text).expect("addresses and ports are printable ASCII")
        };
        Self {
            peer: text(peer.to_string()),
            port: text(port.to_string()),
            trace: AtomicU64::new(std::hash::RandomState::new().build_hasher().finish()),
        }
    }

    /// Adds or completes the `X-Forwarded-*` and `X-Amzn-Trace-Id` fields.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        let peer = match headers.get(&FORWARDED_FOR) {
            None => self.peer.clone(),
            Some(_) => {
                let mut joined = Vec::new();
                for value in headers.get_all(&FORWARDED_FOR) {
                    joined.extend_from_slice(value.as_bytes());
                    joined.extend_from_slice(b", ");
                }
                joined.extend_from_slice(self.peer.as_bytes());
                HeaderValue::from_bytes(&joined).unwrap_or_else(|_| self.peer.clone())
            }
        };
        headers.insert(FORWARDED_FOR, peer);
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
        headers.insert(FORWARDED_PORT, self.port.clone());
        let own = self.next_trace();
        let trace = match headers.get(&TRACE_ID).map(HeaderValue::to_str) {
            Some(Ok(have)) if have.contains("Root=") => {
                // Whoever set the root keeps it; a Self of an earlier balancer gives way to ours.
                let rest: Vec<&str> = have
                    .split(';')
                    .filter(|field| !field.trim_start().starts_with("Self="))
                    .collect();
                let own = String::from_utf8_lossy(&own[ROOT.len()..]);
                HeaderValue::try_from(format!("Self={own};{}", rest.join(";")))
            }
            Some(Ok(have)) => {
                HeaderValue::try_from(format!("{};{have}", String::from_utf8_lossy(&own)))
            }
            _ => Ok(HeaderValue::from_bytes(&own).expect("hexadecimal digits and hyphens")),
        };
        if let Ok(trace) = trace {
            headers.insert(TRACE_ID, trace);
        }
    }

    /// `Root=1-` the time in seconds `-` 96 bits, all in hexadecimal.
    fn next_trace(&self) -> [u8; 40] {
        let mut out = *b"Root=1-........-........................";
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        hex(&mut out[7..15], now.as_secs());
        hex(&mut out[16..32], self.random());
        hex(&mut out[32..40], self.random());
        out
    }

    /// splitmix64: unguessable start, then only distinctness matters.
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .trace
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The last digits of a number in hexadecimal, as many as there is room for.
fn hex(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}
