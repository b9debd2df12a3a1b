//! Which action a request gets: patterns, conditions and redirects as pure functions.

use super::config::{Condition, Redirect, Rule};

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

/// What of a request a redirect may use.
pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

/// The `Location` of a redirect.
pub(super) fn location(redirect: &Redirect, asked: &Asked<'_>) -> String {
    let port = asked.port.to_string();
    let fill = |text: &str| {
        // One pass, so that what the request brings is never itself taken for a placeholder.
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("#{") {
            out.push_str(&rest[..start]);
            let known = [
                ("#{protocol}", "http"),
                ("#{host}", asked.host),
                ("#{port}", &port),
                ("#{path}", asked.path.trim_start_matches('/')),
                ("#{query}", asked.query),
            ]
            .into_iter()
            .find(|(name, _)| rest[start..].starts_with(name));
            match known {
                Some((name, value)) => {
                    out.push_str(value);
                    rest = &rest[start + name.len()..];
                }
                None => {
                    out.push_str("#{");
                    rest = &rest[start + 2..];
                }
            }
        }
        out.push_str(rest);
        out
    };
    let protocol = fill(&redirect.protocol).to_ascii_lowercase();
    let port = fill(&redirect.port);
    let mut out = format!("{protocol}://{}", fill(&redirect.host));
    if !matches!(
        (protocol.as_str(), port.as_str()),
        ("http", "80") | ("https", "443")
    ) {
        out.push(':');
        out.push_str(&port);
    }
    let path = fill(&redirect.path);
    if !path.starts_with('/') {
        out.push('/');
    }
    out.push_str(&path);
    let query = fill(&redirect.query);
    if !query.is_empty() {
        out.push('?');
        out.push_str(&query);
    }
    out
}
