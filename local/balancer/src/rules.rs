//! Which action a request gets: patterns and conditions as pure functions.

use super::config::{Condition, Rule};

/// Whether `text` matches `pattern`, where `*` is any run of bytes and `?` exactly one.
///
/// Runs in time proportional to both lengths at worst, whatever the pattern.
pub(super) fn wildcard(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let same = |a: u8, b: u8| a == b || (ignore_case && a.eq_ignore_ascii_case(&b));
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much text it has taken so far.
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
                // The star takes one more byte, and the rest of the pattern tries again.
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

/// Whether all conditions of a rule hold for a request.
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
