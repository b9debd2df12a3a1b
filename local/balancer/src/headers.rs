//! The headers that the proxy changes.
//!
//! Source: RFC 9110 §7.6.1 for hop-by-hop fields; "HTTP headers and Application Load Balancers" and "Request tracing"
//! in the Elastic Load Balancing user guide for added fields.

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

/// The fields of a head that a proxy has to change.
///
/// One pass over the names finds them: most heads have few of them, and a pass costs less than a lookup for each.
#[derive(Clone, Copy, Default)]
struct Present {
    connection: bool,
    upgrade: bool,
    transfer_encoding: bool,
    /// `Keep-Alive`, `Proxy-Connection` or `TE`.
    hop_by_hop: bool,
    /// `Expect` or `HTTP2-Settings`.
    request_only: bool,
    /// A field that [`Forwarded::apply`] writes.
    forwarded: bool,
    /// A name with other characters than letters, digits and hyphens.
    invalid: bool,
}

impl Present {
    fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            if *name == CONNECTION {
                present.connection = true;
            } else if *name == UPGRADE {
                present.upgrade = true;
            } else if *name == TRANSFER_ENCODING {
                present.transfer_encoding = true;
            } else if *name == TE || *name == KEEP_ALIVE || *name == PROXY_CONNECTION {
                present.hop_by_hop = true;
            } else if *name == EXPECT || *name == HTTP2_SETTINGS {
                present.request_only = true;
            } else {
                let name = name.as_str();
                present.forwarded |= name.starts_with("x-");
                present.invalid |= !is_valid(name);
            }
        }
        present
    }
}

fn is_valid(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Changes the fields of a client's request to those for a target. Returns the protocol that the client asks to
/// change to, if any.
pub(super) fn prepare_request(
    headers: &mut HeaderMap,
    forwarded: &Forwarded,
    drop_invalid: bool,
) -> Option<HeaderValue> {
    let present = Present::of(headers);
    let upgrade = strip_hop_by_hop(headers, present);
    if present.request_only {
        // The balancer speaks HTTP/1.1 on both sides and answers `Expect` itself.
        headers.remove(EXPECT);
        headers.remove(HTTP2_SETTINGS);
    }
    if present.invalid && drop_invalid {
        let names = headers.keys().filter(|name| !is_valid(name.as_str()));
        let invalid: Vec<HeaderName> = names.cloned().collect();
        for name in invalid {
            headers.remove(name);
        }
    }
    forwarded.apply(headers, present.forwarded);
    upgrade
}

/// A response has a `Transfer-Encoding` other than `chunked`, which the client could not decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownCoding;

/// Changes the fields of a target's response to those for a client. Returns the protocol that the target changes to,
/// if any.
///
/// `Transfer-Encoding` determines the end of the response (RFC 9112 §6.3); a `Content-Length` beside it is removed.
///
/// # Errors
/// When the response has an unknown transfer coding.
pub(super) fn prepare_response(
    headers: &mut HeaderMap,
) -> Result<Option<HeaderValue>, UnknownCoding> {
    let present = Present::of(headers);
    if present.transfer_encoding {
        headers.remove(CONTENT_LENGTH);
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_some_and(|coding| {
            let coding = coding.as_bytes().trim_ascii();
            coding.eq_ignore_ascii_case(b"chunked")
        });
        if !chunked || codings.next().is_some() {
            return Err(UnknownCoding);
        }
    }
    Ok(strip_hop_by_hop(headers, present))
}

/// Removes the fields that apply to one connection only. Returns the protocol that the sender wants to change to, if
/// any.
fn strip_hop_by_hop(headers: &mut HeaderMap, present: Present) -> Option<HeaderValue> {
    let upgrade = match present.upgrade {
        true => headers.remove(UPGRADE),
        false => None,
    };
    let mut wants_upgrade = false;
    if present.connection {
        let mut named = Vec::new();
        for value in headers.get_all(CONNECTION) {
            for name in value.to_str().unwrap_or_default().split(',') {
                let name = name.trim();
                let is = |option: &str| name.eq_ignore_ascii_case(option);
                if is("upgrade") {
                    wants_upgrade = true;
                } else if is("keep-alive")
                    || ["close", "content-length", "host"]
                        .iter()
                        .any(|option| is(option))
                {
                    // `Keep-Alive` is removed below in any case. A sender must not make a proxy remove the fields
                    // that determine the end or the destination of a message.
                } else {
                    named.extend(HeaderName::from_bytes(name.as_bytes()));
                }
            }
        }
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    if present.hop_by_hop {
        for name in [KEEP_ALIVE, PROXY_CONNECTION, TE] {
            headers.remove(name);
        }
    }
    if present.transfer_encoding {
        headers.remove(TRANSFER_ENCODING);
    }
    upgrade.filter(|_| wants_upgrade)
}

/// Requests a change of protocol.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The fields that a client connection adds to each of its requests.
pub(super) struct Forwarded {
    peer: HeaderValue,
    port: HeaderValue,
    trace: AtomicU64,
}

impl Forwarded {
    /// The fields for a client at this address, on a listener of this port.
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

    /// Adds or extends the `X-Forwarded-*` and `X-Amzn-Trace-Id` fields. `present`: the client may have sent some.
    fn apply(&self, headers: &mut HeaderMap, present: bool) {
        let own = self.next_trace();
        let (peer, trace) = match present {
            true => (self.complete_peer(headers), complete_trace(headers, &own)),
            false => (None, None),
        };
        headers.insert(FORWARDED_FOR, peer.unwrap_or_else(|| self.peer.clone()));
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
        headers.insert(FORWARDED_PORT, self.port.clone());
        if let Some(trace) = trace.or_else(|| HeaderValue::from_bytes(&own).ok()) {
            headers.insert(TRACE_ID, trace);
        }
    }

    /// The client's `X-Forwarded-For` with its own address appended.
    fn complete_peer(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut joined = Vec::new();
        for value in headers.get_all(&FORWARDED_FOR) {
            joined.extend_from_slice(value.as_bytes());
            joined.extend_from_slice(b", ");
        }
        if joined.is_empty() {
            return None;
        }
        joined.extend_from_slice(self.peer.as_bytes());
        HeaderValue::from_bytes(&joined).ok()
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

    /// splitmix64: the start value is unpredictable, and the following values only need to be distinct.
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

/// The client's `X-Amzn-Trace-Id` with the id of this balancer: as `Self` beside the client's root, or as the root.
fn complete_trace(headers: &HeaderMap, own: &[u8]) -> Option<HeaderValue> {
    let current = headers.get(&TRACE_ID)?.to_str().ok()?;
    let own = std::str::from_utf8(own).ok()?;
    if !current.contains(ROOT) {
        return HeaderValue::try_from(format!("{own};{current}")).ok();
    }
    // The `Self` of an earlier balancer is replaced.
    let rest: Vec<&str> = current
        .split(';')
        .filter(|field| !field.trim_start().starts_with("Self="))
        .collect();
    let own = own.strip_prefix(ROOT)?;
    HeaderValue::try_from(format!("Self={own};{}", rest.join(";"))).ok()
}

/// The last digits of a number in hexadecimal; they fill `out`.
fn hex(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}
