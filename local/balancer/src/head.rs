//! The head of a request as bytes: its end, and whether the HTTP parser may see it.
//!
//! The parser accepts everything that RFC 9112 allows a lenient recipient to accept. Two parsers in a row that are
//! lenient in different ways make request smuggling possible. So this module refuses ambiguous heads, with a reason,
//! before the parser sees them.
//!
//! Limits: "HTTP headers" in the quotas of Application Load Balancers. They are sizes. The number of fields has a
//! limit only because the parser reserves memory for each.

use super::fault::Fault;

/// "Request line" and "Single header" in the quotas of Application Load Balancers.
pub(super) const MAX_LINE: usize = 16 * 1024;
/// "Entire request header" in the same quotas.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The maximum number of header fields of one message.
pub(super) const MAX_FIELDS: usize = 2_000;

/// The result of a scan of a client's first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The head is not complete yet.
    Partial,
    /// A head of this many bytes.
    Complete {
        /// Its length with the empty line.
        len: usize,
        /// The position of the target, if some of its bytes need percent-encoding.
        encode: Option<(usize, usize)>,
    },
    /// A head that no target may receive.
    Faulty(Fault),
}

/// Scans a head from its first byte. A faulty line is reported before the rest of the head has arrived.
pub(super) fn scan(bytes: &[u8]) -> Head {
    match try_scan(bytes) {
        Ok(head) => head,
        Err(fault) => Head::Faulty(fault),
    }
}

fn try_scan(bytes: &[u8]) -> Result<Head, Fault> {
    let mut at = 0;
    let mut encode = None;
    let (mut fields, mut length, mut coding, mut chunked) = (0, false, false, 0);
    let mut in_head = false;
    loop {
        let rest = &bytes[at..];
        let Some(newline) = rest.iter().position(|&b| b == b'\n') else {
            return match (bytes.len() > MAX_HEAD, rest.len() > MAX_LINE, in_head) {
                (false, false, _) => Ok(Head::Partial),
                (_, true, false) => Err(Fault::LongLine),
                (_, true, true) => Err(Fault::LongField),
                _ => Err(Fault::LongHead),
            };
        };
        let Some((b'\r', line)) = rest[..newline].split_last() else {
            return Err(Fault::BareLineFeed);
        };
        let start = at;
        at += newline + 1;
        if at > MAX_HEAD {
            return Err(Fault::LongHead);
        }
        if line.is_empty() {
            if !in_head {
                // RFC 9112 §2.2: empty lines before a request are ignored.
                continue;
            }
            return match length && coding {
                true => Err(Fault::TwoFramings),
                false => Ok(Head::Complete { len: at, encode }),
            };
        }
        if !in_head {
            in_head = true;
            encode = request_line(line)?.map(|(from, to)| (start + from, start + to));
            continue;
        }
        fields += 1;
        if fields > MAX_FIELDS {
            return Err(Fault::ManyFields);
        }
        match field(line)? {
            name if name.eq_ignore_ascii_case(b"content-length") => length = true,
            name if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                coding = true;
                chunked += count_chunked(&line[name.len() + 1..]);
                // RFC 9112 §6.1: a sender applies the chunked coding at most once.
                if chunked > 1 {
                    return Err(Fault::ChunkedTwice);
                }
            }
            _ => {}
        }
    }
}

/// Checks `METHOD target HTTP/1.x`. Returns the position of the target if it needs encoding.
fn request_line(line: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    if line.len() > MAX_LINE {
        return Err(Fault::LongLine);
    }
    let first = line.iter().position(|&b| b == b' ');
    let last = line.iter().rposition(|&b| b == b' ');
    let (Some(first), Some(last)) = (first, last) else {
        return Err(Fault::RequestLine);
    };
    if first == 0 || last <= first + 1 || !matches!(&line[last + 1..], b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(Fault::RequestLine);
    }
    let mut encode = false;
    for &b in &line[first + 1..last] {
        match b {
            0..=b' ' | 0x7f => return Err(Fault::TargetControl),
            b'#' => return Err(Fault::TargetFragment),
            b => encode |= is_encoded(b),
        }
    }
    Ok(encode.then_some((first + 1, last)))
}

/// Whether a byte of a target's path or query is percent-encoded on the way to the target.
fn is_encoded(b: u8) -> bool {
    matches!(b, b'<' | b'>' | b'"' | b'`' | 0x80..)
}

/// The name of a header field.
fn field(line: &[u8]) -> Result<&[u8], Fault> {
    if line.len() > MAX_LINE {
        return Err(Fault::LongField);
    }
    let name = match line.iter().position(|&b| b == b':') {
        _ if matches!(line.first(), Some(b' ' | b'\t')) => return Err(Fault::FoldedField),
        None | Some(0) => return Err(Fault::FieldName),
        Some(colon) => &line[..colon],
    };
    if !name.iter().all(|&b| is_token(b)) {
        return Err(Fault::FieldName);
    }
    // No early exit, so that the compiler can check many bytes at once.
    let value = &line[name.len()..];
    match value.iter().fold(false, |bad, &b| bad | is_control(b)) {
        true => Err(Fault::FieldValue),
        false => Ok(name),
    }
}

/// How often a Transfer-Encoding field names the chunked coding, with any parameters.
fn count_chunked(value: &[u8]) -> usize {
    let is_chunked = |coding: &&[u8]| {
        let name = coding.split(|&b| b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"chunked")
    };
    value.split(|&b| b == b',').filter(is_chunked).count()
}

fn is_control(b: u8) -> bool {
    (b < b' ' && b != b'\t') || b == 0x7f
}

/// RFC 9110 §5.6.2.
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A head with its target, from `from` to `to`, percent-encoded where necessary.
pub(super) fn encoded(head: &[u8], (from, to): (usize, usize)) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 64);
    out.extend_from_slice(&head[..from]);
    for &b in &head[from..to] {
        if is_encoded(b) {
            let digit = |n: u8| b"0123456789ABCDEF"[usize::from(n & 15)];
            out.extend_from_slice(&[b'%', digit(b >> 4), digit(b)]);
        } else {
            out.push(b);
        }
    }
    out.extend_from_slice(&head[to..]);
    out
}

/// Whether a Host field is `uri-host [ ":" port ]` (RFC 9110 §7.2), without user information.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|&b| b == b':' || b == b']') {
        Some(at) if value[at] == b':' => (&value[..at], &value[at + 1..]),
        _ => (value, &b""[..]),
    };
    let name = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(b);
    let literal = |b: &u8| name(b) || *b == b':';
    let valid = match host {
        [b'[', inner @ .., b']'] => !inner.is_empty() && inner.iter().all(literal),
        _ => host.iter().all(name),
    };
    // Only digits: the parser of numbers would accept a sign.
    let port = port.is_empty()
        || port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    valid && port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_head_is_partial_and_whole_head_ends() {
        let head = b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nrest";
        let whole = head.len() - 4;
        for cut in 0..whole {
            assert_eq!(scan(&head[..cut]), Head::Partial, "{cut}");
        }
        let complete = Head::Complete {
            len: whole,
            encode: None,
        };
        assert_eq!(scan(head), complete);
    }

    #[test]
    fn targets_are_encoded_in_path_and_query() {
        let head = "GET /<é>?\"`{}|^ HTTP/1.1\r\n\r\n".as_bytes();
        let Head::Complete {
            encode: Some(target),
            ..
        } = scan(head)
        else {
            panic!("{:?}", scan(head));
        };
        let text = String::from_utf8(encoded(head, target)).unwrap();
        assert_eq!(text, "GET /%3C%C3%A9%3E?%22%60{}|^ HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn hosts() {
        for good in [
            "",
            "a",
            "a.b:80",
            "a_b",
            "a:65535",
            "127.0.0.1:",
            "[::1]:8080",
            "[::1]",
            "a%20b",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a@b", "a/b", "a:b", "a:1:2", "::1", "[]", "[::1", "a:123456", "a:65536",
            "a:99999", "a:+80", "a?b", "a\\b",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
