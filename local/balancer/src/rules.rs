//! The matching of listener rules: patterns and conditions as pure functions.

use super::config::{Condition, Rule};

/// Whether `text` matches `pattern`, where `*` is any number of bytes and `?` exactly one.
///
/// The time is at most proportional to the product of both lengths, for every pattern.
pub(super) fn wildcard(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let same = |a: u8, b: u8| a == b || (ignore_case && a.eq_ignore_ascii_case(&b));
    let (mut p, mut t) = (0, 0);
    // The position of the last star, and the length of the text that it has matched.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || same(c, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // The star matches one more byte, and the rest of the pattern is tried again.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// Whether all conditions of a rule match a request.
pub(super) fn applies(rule: &Rule, host: &str, path: &str) -> bool {
    rule.conditions.iter().all(|condition| match condition {
        Condition::HostHeader(patterns) => patterns
            .iter()
            .any(|pattern| wildcard(pattern.as_bytes(), host.as_bytes(), true)),
        Condition::PathPattern(patterns) => patterns
            .iter()
            .any(|pattern| wildcard(pattern.as_bytes(), path.as_bytes(), false)),
    })
}

/// A host header without its port; an IPv6 address keeps its brackets.
pub(super) fn host_name(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}
